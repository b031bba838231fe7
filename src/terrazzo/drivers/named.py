"""Images by name, as a run and its results list them: all ids, or how many and a digest."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMED = 1000
"""Images up to which a list names each."""


def named_items(items: Sequence[str]) -> list[str] | dict[str, int | str]:
    """Return ids of images as JSON values.

    Returns:
        The ids; where they are more than `MOST_NAMED`, their `count`, and as `digest` the
        SHA-256 of their texts, as JSON in UTF-8 and in this order, each followed by a new line.
    """
    if len(items) <= MOST_NAMED:
        return list(items)
    digest = hashlib.sha256()
    for name in items:
        digest.update(json.dumps(name).encode() + b"\n")
    return {"count": len(items), "digest": digest.hexdigest()}
