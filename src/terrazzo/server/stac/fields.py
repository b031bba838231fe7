"""The members of documents that somebody asks for: the fields extension."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.server.stac.query import Fields

_ITEM = ("id", "type", "collection")
"""What of an item cannot be left out."""


def chosen(
    document: dict[str, Any],
    fields: Fields | None,
    often: Sequence[str],
    kept: Sequence[str] = _ITEM,
) -> dict[str, Any]:
    """Return what of a document is asked for.

    With nothing to include it is everything, with a few names what every document needs, too. A
    name to include counts more than the same name, or one that it lies in, to exclude.

    Args:
        document: as it is served.
        fields: names with dots between their parts; None is everything.
        often: what comes beside the names to include.
        kept: what cannot be left out.
    """
    if fields is None:
        return document
    if not fields.include and fields.exclude:
        found = copy.deepcopy(document)
    else:
        found = {}
        for name in {*fields.include} | {*often}:
            _put(document, found, name.split("."))
    for name in fields.exclude:
        if name not in kept:
            _drop(found, name.split("."))
    for name in fields.include:
        if any(f"{name}.".startswith(f"{other}.") for other in fields.exclude):
            _put(document, found, name.split("."))
    return found


def _put(item: Any, found: dict[str, Any], path: list[str]) -> None:
    name, *rest = path
    if not isinstance(item, Mapping) or name not in item:
        return
    if not rest:
        found[name] = item[name]
        return
    inner = found.setdefault(name, {})
    if inner is not item[name] and isinstance(inner, dict):
        _put(item[name], inner, rest)


def _drop(found: Any, path: list[str]) -> None:
    name, *rest = path
    if not isinstance(found, dict):
        return
    if rest:
        _drop(found.get(name), rest)
    else:
        found.pop(name, None)
