"""Texts: plain values only, pixels hold none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any

from terrazzo.cube import Pixels
from terrazzo.errors import ArgumentInvalid
from terrazzo.processes.convert import scalar
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import BooleanOrNull, Schema

_FOUND = ("texts", "comparison")
_PARTS = {"type": ["string", "number", "boolean", "null"]}

TextOrNull = Annotated[str | None, Schema({"type": ["string", "null"]})]
Text = Annotated[str, Schema({"type": "string"})]
Flag = Annotated[bool, Schema({"type": "boolean"})]
Found = Annotated[int | None, Schema({"type": ["integer", "null"], "minimum": 0})]
Part = Annotated[str | float | bool | None, Schema(_PARTS)]
Parts = Annotated[Sequence[Any], Schema({"type": "array", "items": _PARTS})]


@process("text_begins", Role.SCALAR, categories=_FOUND)
def text_begins(data: TextOrNull, pattern: Text, case_sensitive: Flag = True) -> BooleanOrNull:
    """Whether a text begins with another, data = pattern + rest.

    Args:
        data: text to look into; no-data passes.
        pattern: text to look for, taken literally.
        case_sensitive: whether "a" and "A" differ.

    Returns:
        A boolean; no-data if `data` is.

    Source:
        openEO process `text_begins` 2.0.0-rc.2.
    """
    if data is None:
        return None
    return _folded(data, case_sensitive).startswith(_folded(pattern, case_sensitive))


@process("text_contains", Role.SCALAR, categories=_FOUND)
def text_contains(data: TextOrNull, pattern: Text, case_sensitive: Flag = True) -> BooleanOrNull:
    """Whether a text holds another, data = head + pattern + rest.

    Args:
        data: text to look into; no-data passes.
        pattern: text to look for, taken literally.
        case_sensitive: whether "a" and "A" differ.

    Returns:
        A boolean; no-data if `data` is.

    Source:
        openEO process `text_contains` 2.0.0-rc.2.
    """
    if data is None:
        return None
    return _folded(pattern, case_sensitive) in _folded(data, case_sensitive)


@process("text_ends", Role.SCALAR, categories=_FOUND)
def text_ends(data: TextOrNull, pattern: Text, case_sensitive: Flag = True) -> BooleanOrNull:
    """Whether a text ends with another, data = head + pattern.

    Args:
        data: text to look into; no-data passes.
        pattern: text to look for, taken literally.
        case_sensitive: whether "a" and "A" differ.

    Returns:
        A boolean; no-data if `data` is.

    Source:
        openEO process `text_ends` 2.0.0-rc.2.
    """
    if data is None:
        return None
    return _folded(data, case_sensitive).endswith(_folded(pattern, case_sensitive))


@process("text_find", Role.SCALAR, categories=("texts",), experimental=True)
def text_find(data: TextOrNull, pattern: Text, case_sensitive: Flag = True) -> Found:
    """Position of a text in another, min {i: data[i:] = pattern + rest}.

    Args:
        data: text to look into; no-data passes.
        pattern: text to look for, taken literally.
        case_sensitive: whether "a" and "A" differ.

    Returns:
        Number of characters before the first place where it stands; no-data if there is none.

    Source:
        openEO process `text_find` 2.0.0-rc.2.
    """
    if data is None:
        return None
    found = _folded(data, case_sensitive).find(_folded(pattern, case_sensitive))
    if found < 0 or case_sensitive:
        return found if found >= 0 else None
    # A character may be folded to several: those before are counted in the text as it is.
    ends = accumulate(len(character.casefold()) for character in data)
    return sum(end <= found for end in ends)


@process("text_concat", Role.SCALAR, categories=("texts",))
def text_concat(data: Parts, separator: Part = "") -> Text:
    """Text of several values in a row, data[0] + separator + data[1] + ...

    Args:
        data: texts, numbers, booleans; no-data reads "null".
        separator: what stands between two of them; nothing by default.

    Returns:
        The text; empty for an empty array. Whole numbers are written without a point.

    Raises:
        ProcessParameterInvalid: an entry is no plain value.

    Source:
        openEO process `text_concat` 2.0.0-rc.2.
    """
    return _written(separator).join(map(_written, data))


def _folded(text: Any, case_sensitive: bool) -> str:
    if not isinstance(text, str):
        raise ArgumentInvalid(f"{_shown(text)} is no text.")
    return text if case_sensitive else text.casefold()


def _written(value: Any) -> str:
    value = scalar(value)
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        whole = math.isfinite(value) and float(value).is_integer()
        return str(int(value)) if whole else repr(value)
    raise ArgumentInvalid(f"{_shown(value)} has no text. Texts, numbers, booleans and null have.")


def _shown(value: Any) -> str:
    return "A value per pixel" if isinstance(value, Pixels) else repr(value)
