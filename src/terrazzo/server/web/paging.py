"""Lists in pages: a client asks for `limit` entries and follows the link `next`.

A page goes on behind the last entry of the one before, named by its keys, so that nothing comes
twice and nothing is left out while others add and delete.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator, Field

from terrazzo.server.web.faults import RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 1000
"""Entries of the largest page."""
_UNKEPT = re.compile("[\0\\ud800-\\udfff]")
"""What no database holds in a text: NUL, and halves of characters."""

Entries = Annotated[int, Field(ge=1, le=1_000_000)]


def _given(text: object) -> object:
    """Return nothing for a parameter without a value, as openEO has it."""
    return None if text == "" else text


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted; a dependency of routes."""

    limit: Annotated[Entries | None, BeforeValidator(_given), Query()] = None
    """How many entries; without it, or where it is empty, the list comes whole."""
    after: Annotated[str, Query(max_length=1000)] = ""
    """Where to go on: made by `token`, opaque to clients."""

    @property
    def size(self) -> int | None:
        """Return how many entries to give."""
        return None if self.limit is None else min(self.limit, MOST)

    def key(self, count: int) -> tuple[str, ...] | None:
        """Return the keys behind which to go on; None is the beginning.

        Raises:
            RequestInvalid: the token is not one of this list.
        """
        if not self.after:
            return None
        keys = keys_of(self.after)
        if len(keys) != count:
            raise _nowhere()
        return keys


def keys_of(text: str, parameter: str = "after") -> tuple[str, ...]:
    """Return the keys that `token` was given.

    Args:
        text: that it made.
        parameter: in which it came.

    Raises:
        RequestInvalid: it made no such text.
    """
    try:
        keys: Any = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, RecursionError):
        raise _nowhere(parameter) from None
    if not isinstance(keys, list) or not all(
        isinstance(key, str) and _UNKEPT.search(key) is None for key in keys
    ):
        raise _nowhere(parameter)
    return tuple(keys)


def _nowhere(parameter: str = "after") -> RequestInvalid:
    return RequestInvalid(
        f"`{parameter}` is not a place in this list. Follow the link with rel=next instead of "
        "making one."
    )


def token(keys: Sequence[str]) -> str:
    """Return what `Page.after` is given to go on behind an entry with these keys."""
    return base64.urlsafe_b64encode(json.dumps(list(keys)).encode()).decode()
