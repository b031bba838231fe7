"""What files tell that anybody may have written: values of the right types, in bounds."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

DAMAGED: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
"""What reading of a damaged file ends in."""
MOST: Final = 10**18
"""No number that is told, of bytes say, is larger."""
MOST_BLOCKS: Final = 10**8
"""No run has more blocks."""


def checked(told: T) -> T:
    """Return a dataclass whose texts are texts, and whose numbers are numbers from 0 to `MOST`.

    Raises:
        ValueError: they are not.
    """
    for field in fields(told):
        value, kind = getattr(told, field.name), str(field.type)
        if value is None and kind.endswith(" | None"):
            continue
        if not _fits(value, kind.removesuffix(" | None")):
            raise ValueError(f"{field.name} is {value!r:.60}")
    return told


def _fits(value: Any, kind: str) -> bool:
    if kind == "int":
        return type(value) is int and 0 <= value <= MOST
    if kind == "float":
        return type(value) in {int, float} and math.isfinite(value) and 0 <= value <= MOST
    if kind in {"str", "bool"}:
        return type(value).__name__ == kind
    return True  # read by whoever knows it


def count_of(value: Any, most: int = MOST_BLOCKS) -> int:
    """Return a whole number from 0 to `most`.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r:.60} is no number up to {most}")
    return value
