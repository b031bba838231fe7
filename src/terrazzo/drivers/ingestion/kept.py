"""What an item has already of other files: kept beside what is new, and never replaced unasked.

Files of one item may come in several ingestions, a band each. What another one brought stays; what
this one brings anew takes the place of what the same file brought before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog import make_item
from terrazzo.catalog.stac import read_projection
from terrazzo.drivers.ingestion.items import DIGEST, FoundFile, footprint
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid
from terrazzo.geo.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from terrazzo.geo.grid import Bounds

SOURCE: Final = "terrazzo:source"
"""Field of an asset: the file that it was made of; without it, it is that file itself."""
_TIMES: Final = ("datetime", "start_datetime", "end_datetime")
_DAY_S: Final = 86_400
_TURN: Final = 360.0
_ADVICE: Final = "Tell the items apart with --pattern and a group (?P<item>...)."


def source_of(found: FoundFile) -> str:
    """Return what a file is known by from one ingestion to the next."""
    return found.address or str(found.path.resolve())


def source_fields(found: FoundFile, href: str) -> dict[str, str]:
    """Return the field that says what an asset was made of; none if it is the file itself."""
    source = source_of(found)
    return {} if source == href else {SOURCE: source}


def carried(
    name: str, key: str, found: FoundFile, before: Mapping[str, Any], digest: str
) -> dict[str, str]:
    """Return the field that says what an asset was made of.

    Args:
        name: of the item.
        key: of the asset.
        found: the file that it is to be made of.
        before: the asset as the catalogue has it; empty if it has none.
        digest: of the content that it is to have; empty for a file that is read in place.

    Raises:
        ArgumentInvalid: it is made of another file, which is still there, and says something else.
    """
    source, known = source_of(found), _source(before)
    if digest and before.get(DIGEST) == digest and known:
        return {SOURCE: known}
    if known and known != source and _is_there(known):
        raise ArgumentInvalid(
            f"its item {name!r} has {key} already, made of {known}. {_ADVICE} If this file "
            "replaces that one, move that one away first."
        )
    return {SOURCE: source} if digest else {}


def apart(one: Bounds, other: Bounds) -> bool:
    """Tell whether two boxes (west, south, east, north) in degrees have no place in common."""
    west, south, east, north = one
    left, bottom, right, top = other
    if south > top or bottom > north:
        return True
    width, length = (east - west) % _TURN, (right - left) % _TURN
    if not (width and length):  # around the Earth
        return False
    return (left - west) % _TURN > width and (west - left) % _TURN > length


def with_kept(
    item: dict[str, Any], previous: Mapping[str, Any] | None, run: Mapping[str, bool]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Add to an item what it has already of files that are not taken in by this ingestion.

    Args:
        item: the new one.
        previous: as the catalogue has it; None if it has none.
        run: the files of this ingestion, and whether each was left out.

    Returns:
        The item, and what people should know of what was kept.

    Raises:
        ArgumentInvalid: what is there is of another day, or of another place.
    """
    if previous is None:
        return item, ()
    kept = {
        key: asset
        for key, asset in previous["assets"].items()
        if key not in item["assets"]
        and (source := _source(asset))
        and run.get(source, True)
        and _is_there(asset["href"])
    }
    if not kept:
        return item, ()
    old, new = _begin(previous), _begin(item)
    if abs((old - new).total_seconds()) >= _DAY_S:
        raise ArgumentInvalid(
            f"it belongs to item {item['id']!r} by its name, which is of {format_time(old)} and "
            f"not of {format_time(new)}. {_ADVICE}"
        )
    if apart(tuple(previous["bbox"]), tuple(item["bbox"])):
        raise ArgumentInvalid(
            f"it belongs to item {item['id']!r} by its name, and nowhere do they show the same "
            f"place. {_ADVICE}"
        )
    assets = {**kept, **item["assets"]}
    whole = item | {"assets": assets}
    box, geometry = footprint([grid for key in assets if (grid := _grid(whole, key)) is not None])
    first = (previous if old <= new else item)["properties"]
    made = make_item(
        item["id"],
        item["collection"],
        bbox=box,
        geometry=geometry,
        datetime=first.get("datetime"),
        start=first.get("start_datetime"),
        end=first.get("end_datetime"),
        properties={
            name: value
            for name, value in {**previous["properties"], **item["properties"]}.items()
            if name not in _TIMES
        },
        assets=assets,
    )
    used = made["stac_extensions"]
    others = dict.fromkeys([*previous.get("stac_extensions", ()), *item["stac_extensions"]])
    made["stac_extensions"] = [*used, *(url for url in others if url not in used)]
    stored: dict[str, Any] = json.loads(json.dumps(made))
    return stored, _told(kept, run, changed=stored != previous)


def _told(
    kept: Mapping[str, Mapping[str, Any]], run: Mapping[str, bool], *, changed: bool
) -> tuple[str, ...]:
    notes = []
    for key, asset in kept.items():
        source = _source(asset)
        if source in run:
            notes.append(f"{key} is kept as it was, for {source} was left out.")
        elif changed:
            notes.append(f"{key} is kept, from {source}, which is no part of this ingestion.")
    return tuple(notes)


def _source(asset: Mapping[str, Any]) -> str:
    """Return what an asset was made of; empty where it does not say that."""
    known = asset.get(SOURCE) or ("" if DIGEST in asset else asset.get("href", ""))
    return str(known)


def _is_there(source: str) -> bool:
    """Tell whether a file is there, which is believed of what is read over the network."""
    return "://" in source or Path(source).exists()


def _begin(item: Mapping[str, Any]) -> datetime:
    told = item["properties"]
    return parse_time(told.get("datetime") or told["start_datetime"])


def _grid(item: Mapping[str, Any], key: str) -> Grid | None:
    """Return the grid that an asset states."""
    stated = read_projection(item, key)
    if stated is None or len(stated.transform) < 6 or len(stated.shape) != 2:  # noqa: PLR2004
        return None
    across, _, left, _, down, top = stated.transform[:6]
    return Grid(stated.crs, left, top, across, -down, *stated.shape)
