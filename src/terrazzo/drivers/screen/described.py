"""What collections say of the bands that a layer shows: units, and classes with their colours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import read_bands
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.colors import Class, Classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from terrazzo.cube import Dimension

_COLOUR: Final = re.compile(r"[0-9a-fA-F]{6}")
_CLASSES: Final = "classification:classes"


@dataclass(frozen=True, slots=True)
class BandTold:
    """What is known of one band of a layer."""

    name: str
    """Its label."""
    title: str = ""
    """For people."""
    unit: str = ""
    """Of its values; empty if none is stated."""
    common_name: str = ""
    """STAC common name."""
    labels: Mapping[float, str] = field(default_factory=dict, hash=False)
    """What people call its classes, by value."""
    colors: Classes | None = None
    """The colours of its classes, where they are all stated."""


def told_bands(
    dimension: Dimension | None, documents: Sequence[Mapping[str, Any]], unchanged: bool
) -> tuple[BandTold, ...]:
    """Return what is known of bands.

    Args:
        dimension: the bands of the result; None where it has none.
        documents: the collections that were loaded.
        unchanged: whether pixels are those of the collections; else they say nothing of them.
    """
    if dimension is None:
        return (BandTold(""),)
    known = {band.name: band for one in documents for band in _bands(one)} if unchanged else {}
    classes = {name: found for one in documents for name, found in _classes(one)}
    told = []
    for label in dimension.labels:
        name = str(label)
        facts, info = dimension.facts.get(label), known.get(name)
        listed = classes.get(name, ()) if unchanged else ()
        coloured = bool(listed) and all(one.color for one in listed)
        told.append(
            BandTold(
                name,
                info.description if info else "",
                info.unit if info else "",
                facts.common_name if facts else "",
                {one.value: one.label for one in listed},
                _colours(listed) if coloured else None,
            )
        )
    return tuple(told)


def _colours(listed: Sequence[Class]) -> Classes | None:
    try:
        return Classes(tuple(listed))
    except ArgumentInvalid:
        return None  # more than fit, or a value twice: others wrote it


def _bands(document: Mapping[str, Any]) -> Sequence[Any]:
    try:
        return read_bands(document)
    except ArgumentInvalid:
        return ()


def _classes(document: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Class, ...]]]:
    """Yield the classes of bands by name, wherever STAC 1.0 and 1.1 have them."""
    holders: list[tuple[str, Mapping[str, Any]]] = [("", document)]
    assets = document.get("item_assets")
    if isinstance(assets, Mapping):
        holders += [(key, one) for key, one in assets.items() if isinstance(one, Mapping)]
    for key, holder in holders:
        bands = [one for one in _listed(holder, "bands") if isinstance(one.get("name"), str)]
        raster = _listed(holder, "raster:bands")
        named = _listed(holder, "eo:bands")
        for one in bands:
            yield one["name"], _read(one.get(_CLASSES))
        for position, one in enumerate(raster):
            name = named[position].get("name") if position < len(named) else key
            yield str(name or key), _read(one.get(_CLASSES))
        own = _read(holder.get(_CLASSES))
        for name in [one["name"] for one in bands] or ([key] if key else []):
            if own:
                yield name, own


def _listed(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = holder.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _read(listed: object) -> tuple[Class, ...]:
    if not isinstance(listed, list):
        return ()
    return tuple(found for one in listed if (found := _class(one)) is not None)


def _class(one: object) -> Class | None:
    if not isinstance(one, Mapping):
        return None
    value = one.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    label = one.get("title") or one.get("name") or one.get("description") or ""
    hint = str(one.get("color_hint") or "")
    return Class(float(value), f"#{hint}" if _COLOUR.fullmatch(hint) else "", str(label))
