"""Documents at the door: what is checked before they are stored, and how they are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from terrazzo.catalog.filters import column_text
from terrazzo.catalog.footprints import kept_footprint
from terrazzo.catalog.json_text import json_text
from terrazzo.catalog.space import Box, check_bbox
from terrazzo.catalog.stored import StoredItem
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import microseconds, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from terrazzo.geo.times import Interval

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class ItemRow(NamedTuple):
    """An item that was checked, ready to be stored."""

    collection: str
    """Id of its collection."""
    id: str
    """Its own id."""
    start: int
    """Its instant, or the start of its period, microseconds since 1970."""
    stop: int
    """The end of its period, microseconds since 1970; equal to `start` for an instant."""
    boxes: tuple[Box, ...]
    """One box within -180..180, or two if it crosses the antimeridian."""
    footprint: bytes
    """Where it lies exactly, see `footprints`."""
    properties: str
    """Its comparable properties as JSON."""
    stored: StoredItem
    """The whole document."""


def item_row(item: Mapping[str, Any]) -> ItemRow:
    """Check an item.

    Raises:
        ArgumentInvalid: `id`, `collection`, `bbox`, `geometry` or the times are missing or wrong,
            or the document is not JSON; the message names the item and the field.
    """
    name = _text_field(item, "id", "Item")
    subject = f"Item {name!r}"
    collection = _text_field(item, "collection", subject)
    if item.get("type", "Feature") != "Feature":
        raise ArgumentInvalid(f"{subject}: type {item['type']!r} is not 'Feature'.")
    if "bbox" not in item or item["bbox"] is None:
        raise ArgumentInvalid(f"{subject} has no bbox. Valid is [west, south, east, north].")
    footprint, boxes = kept_footprint(item, check_bbox(item["bbox"], subject), subject)
    properties = item.get("properties")
    if not isinstance(properties, Mapping):
        raise ArgumentInvalid(f"{subject} has no properties; they must hold at least `datetime`.")
    with _written(subject):
        stored = StoredItem.of(item)
    _refuse_nul(stored.text, subject)
    first, last = item_period(item)
    start = microseconds(first)
    stop = start if last is first else microseconds(last)
    return ItemRow(collection, name, start, stop, boxes, footprint, column_text(properties), stored)


def item_period(item: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Return an item's instant twice, or the start and end of its period.

    Raises:
        ArgumentInvalid: neither `datetime` nor both of `start_datetime` and `end_datetime` are
            there, one is not a time, or the end is before the start.
    """
    properties, subject = item["properties"], f"Item {item['id']!r}"
    if properties.get("datetime") is not None:
        instant = _time_field(properties, "datetime", subject)
        return instant, instant
    if properties.get("start_datetime") is None or properties.get("end_datetime") is None:
        raise ArgumentInvalid(
            f"{subject} has no datetime. Give `properties.datetime`, or null there and both "
            "`start_datetime` and `end_datetime`."
        )
    start = _time_field(properties, "start_datetime", subject)
    end = _time_field(properties, "end_datetime", subject)
    if end < start:
        raise ArgumentInvalid(
            f"{subject}: end_datetime {properties['end_datetime']!r} is before start_datetime "
            f"{properties['start_datetime']!r}."
        )
    return start, end


def in_period(start: datetime, stop: datetime, interval: Interval) -> bool:
    """Tell whether an item's instant lies in, or its half-open period overlaps, an interval."""
    first, last = interval
    return (last is None or start < last) and (first is None or stop > first or start >= first)


def _time_field(properties: Mapping[str, Any], field: str, subject: str) -> datetime:
    """Read a time and name the item and field if it is none."""
    try:
        return parse_time(properties[field])
    except ArgumentInvalid as problem:
        raise ArgumentInvalid(f"{subject}, properties.{field}: {problem}") from None


def collection_text(collection: Mapping[str, Any]) -> tuple[str, bytes]:
    """Check a collection and return its id and its document as JSON in UTF-8.

    Raises:
        ArgumentInvalid: it has no id, is another kind of document, or is not JSON.
    """
    name = _text_field(collection, "id", "Collection")
    if collection.get("type", "Collection") != "Collection":
        raise ArgumentInvalid(
            f"Collection {name!r}: type {collection['type']!r} is not 'Collection'."
        )
    subject = f"Collection {name!r}"
    with _written(subject):
        text = json_text(dict(collection))
    _refuse_nul(text, subject)
    return name, text


def _text_field(document: Mapping[str, Any], field: str, subject: str) -> str:
    """Return a text that must be there."""
    value = dict(document).get(field)
    if not isinstance(value, str) or not value:
        raise ArgumentInvalid(f"{subject}: {field} {value!r} is missing or not a non-empty text.")
    return value


@contextmanager
def _written(subject: str) -> Iterator[None]:
    """Say whose document is no JSON."""
    try:
        yield
    except (TypeError, ValueError, RecursionError) as problem:
        raise ArgumentInvalid(
            f"{subject} cannot be written as JSON: {problem}. Use null for missing numbers and "
            "RFC 3339 text for times."
        ) from None


def _refuse_nul(text: bytes, subject: str) -> None:
    if b"\\" in text and _NUL.search(text):
        raise ArgumentInvalid(f"{subject} holds a NUL byte in a text. Remove it.")
