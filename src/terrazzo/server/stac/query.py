"""What a STAC search asks for, from the query of a GET or the body of a POST.

Both are read into one `StacQuery`; everything in them is hostile until checked. Times are closed
at both ends here, as STAC has it, and half-open in openEO; so they become part of the filter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from terrazzo.catalog import Filter
from terrazzo.catalog.free_text import FreeText
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.server.web.faults import RequestInvalid

if TYPE_CHECKING:
    from datetime import datetime

    from terrazzo.catalog import Asked, Sort

FEW, MOST = 10, 10_000
"""Items of a page: where nothing is asked for, and at most."""
_MOST_FIELDS = 500
"""Names in `fields`: each is looked for in each item."""
_LONGEST_FIELD = 1000
NEWEST = ("-datetime",)
MEMBERS = frozenset(
    {"collections", "ids", "bbox", "intersects", "datetime", "limit", "token", "sortby"}
    | {"fields", "filter", "filter-lang", "filter-crs", "query", "conf", "q"}
)
"""Members of a body; others belong to extensions that are not here."""
_CRS84 = ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "EPSG:4326")
_LANGUAGES = ("cql2-json", "cql2-text")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?")
_COMPARED = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


@dataclass(frozen=True, slots=True)
class Fields:
    """Which members of items are wanted, as `properties.name` or `name`."""

    include: tuple[str, ...] = ()
    """Only these, and what every item needs; empty is all."""
    exclude: tuple[str, ...] = ()
    """Not these."""


@dataclass(frozen=True, slots=True)
class StacQuery:
    """A checked search."""

    collections: tuple[str, ...] = ()
    """Empty is all."""
    ids: tuple[str, ...] = ()
    """Empty is any."""
    bbox: tuple[float, ...] | None = None
    """West, south, east, north."""
    intersects: Mapping[str, Any] | None = None
    """A geometry, instead of `bbox`."""
    condition: Filter | None = None
    """The filter, the query and the time."""
    sort: Sort = NEWEST
    """The order."""
    limit: int = FEW
    """Items of a page."""
    token: str = ""
    """Where to go on."""
    fields: Fields | None = None
    """What of the items is wanted; None is everything."""

    @property
    def asked(self) -> Asked:
        """What items have to meet, as `Catalog.search` takes it."""
        return {
            "bbox": self.bbox,
            "intersects": self.intersects,
            "ids": self.ids,
            "filter": self.condition,
        }

    def within(self, collection: str) -> StacQuery:
        """Return the search of one collection.

        Raises:
            RequestInvalid: it names others.
        """
        if self.collections not in {(), (collection,)}:
            raise RequestInvalid(
                f"This address searches the collection {collection[:80]!r} only. Leave out "
                "`collections`, or search all at /search."
            )
        return replace(self, collections=(collection,))


def read_query(given: Mapping[str, Any]) -> StacQuery:
    """Read the body of a POST, or the parameters of a GET brought into the same form.

    Raises:
        RequestInvalid, ArgumentInvalid, FilterInvalid: a member is wrong; says which.
    """
    told = {name: value for name, value in given.items() if value is not None}
    unknown = sorted(told.keys() - MEMBERS)
    if unknown:
        raise RequestInvalid(
            f"The search has the unknown members {', '.join(unknown)[:200]}. Known are "
            f"{', '.join(sorted(MEMBERS))}."
        )
    if "bbox" in told and "intersects" in told:
        raise RequestInvalid("A search takes `bbox` or `intersects`, not both.")
    intersects = told.get("intersects")
    if intersects is not None and not isinstance(intersects, Mapping):
        raise RequestInvalid("intersects is a GeoJSON geometry.")
    return StacQuery(
        _texts(told, "collections"),
        _texts(told, "ids"),
        _bbox(told.get("bbox")),
        intersects,
        _condition(told),
        _sort(told.get("sortby")),
        _limit(told.get("limit")),
        _text(told, "token"),
        _fields(told.get("fields")),
    )


def of_parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of a GET as the members of a body.

    Raises:
        RequestInvalid: one is not written as it should be.
    """
    told: dict[str, Any] = {name: text for name, text in given.items() if text != ""}
    told |= {name: read(told[name]) for name, read in _READ.items() if name in told}
    if "filter" in told and told.get("filter-lang") == "cql2-json":
        told["filter"] = _json(told["filter"])
    elif "filter" in told:
        told.setdefault("filter-lang", "cql2-text")
    return told


def _split(text: str) -> list[str]:
    return text.split(",")


def numbers_of(name: str, text: str) -> list[float]:
    """Return the numbers of a parameter, which has commas between them.

    Raises:
        RequestInvalid: one is none.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RequestInvalid(f"{name} holds what is no number: {text[:80]!r}.") from None


def whole_of(name: str, text: str) -> int:
    """Return the whole number of a parameter.

    Raises:
        RequestInvalid: it is none, or has more than nine digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:  # noqa: PLR2004 - digits
        raise RequestInvalid(f"{name} is a whole number, not {text[:20]!r}.")
    return int(text)


def _sorted_by_all(text: str) -> list[dict[str, str]]:
    return [_sorted_by(part) for part in text.split(",")]


def _named(text: str) -> dict[str, list[str]]:
    names = [name.strip() for name in text.split(",")]
    return {
        "include": [name.removeprefix("+") for name in names if not name.startswith("-")],
        "exclude": [name[1:] for name in names if name.startswith("-")],
    }


def _sorted_by(text: str) -> dict[str, str]:
    # A "+" in an address that was not quoted arrives as a space.
    text = text.strip().removeprefix("+")
    down = text.startswith("-")
    return {"field": text.removeprefix("-"), "direction": "desc" if down else "asc"}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RequestInvalid(
            f"{text[:80]!r} is no JSON, as `intersects`, `query` and filters in cql2-json are."
        ) from None


_READ: Mapping[str, Callable[[str], Any]] = {
    "collections": _split,
    "ids": _split,
    "bbox": partial(numbers_of, "bbox"),
    "intersects": _json,
    "query": _json,
    "limit": partial(whole_of, "limit"),
    "sortby": _sorted_by_all,
    "fields": _named,
}
"""How the parameters of a GET are written."""


def _text(told: Mapping[str, Any], name: str) -> str:
    text = told.get(name, "")
    if not isinstance(text, str):
        raise RequestInvalid(f"{name} is a text.")
    return text


def _texts(told: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = told.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise RequestInvalid(f"{name} is a list of ids.")
    if len(values) > MOST:
        raise RequestInvalid(f"{name} has {len(values):,} entries and may have {MOST:,}.")
    return tuple(dict.fromkeys(values))


def _bbox(numbers: Any) -> tuple[float, ...] | None:
    if numbers is None:
        return None
    plain = isinstance(numbers, Sequence) and not isinstance(numbers, str)
    if not plain or not all(type(number) in {int, float} for number in numbers):
        raise RequestInvalid("bbox is a list of four numbers: west, south, east, north.")
    return tuple(numbers)


def _limit(limit: Any) -> int:
    if limit is None:
        return FEW
    if type(limit) is not int or limit < 1:
        raise RequestInvalid(f"limit is a number of items from 1 to {MOST}, not {str(limit)[:20]}.")
    return min(limit, MOST)


def _sort(given: Any) -> Sort:
    if given is None or given == []:
        return NEWEST
    names = []
    for one in given if isinstance(given, list) else [None]:
        field = one.get("field") if isinstance(one, Mapping) else None
        way = one.get("direction", "asc") if isinstance(one, Mapping) else None
        if not isinstance(field, str) or way not in ("asc", "desc"):
            raise RequestInvalid(
                'sortby is a list such as [{"field": "properties.eo:cloud_cover", "direction": '
                '"asc"}].'
            )
        names.append("-" * (way == "desc") + field)
    return tuple(names)


def _fields(given: Any) -> Fields | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.keys() - {"include", "exclude"}:
        raise RequestInvalid('fields is {"include": [...], "exclude": [...]}, lists of names.')
    given = {name: names for name, names in given.items() if names is not None}
    include, exclude = _texts(given, "include"), _texts(given, "exclude")
    if len(include) + len(exclude) > _MOST_FIELDS:
        raise RequestInvalid(f"fields has more than {_MOST_FIELDS} names.")
    if any(len(name) > _LONGEST_FIELD for name in (*include, *exclude)):
        raise RequestInvalid(f"fields has a name of more than {_LONGEST_FIELD} letters.")
    return Fields(include, exclude)


def _condition(told: Mapping[str, Any]) -> Filter | None:
    """Join the filter, the query and the time."""
    crs = told.get("filter-crs", _CRS84[0])
    if crs not in _CRS84:
        raise RequestInvalid(f"filter-crs is {_CRS84[0]}; other systems are not read.")
    parts: list[Filter] = []
    if "filter" in told:
        parts.append(Filter.of(_filter(told["filter"], told.get("filter-lang"))))
    if "query" in told:
        parts += map(Filter.of, _query(told["query"]))
    if "q" in told:
        parts.append(Filter.of_words(FreeText.of(_words(told["q"]))))
    if "datetime" in told:
        parts.append(Filter.during(*period_of(_text(told, "datetime"))))
    return Filter.all_of(parts) if parts else None


def _words(given: Any) -> str | list[str]:
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise RequestInvalid("q is a text, or a list of texts.")
    return given


def _filter(given: Any, language: Any) -> Any:
    if language not in (None, *_LANGUAGES):  # any JSON: a list has no hash
        raise RequestInvalid(f"filter-lang is {' or '.join(_LANGUAGES)}.")
    if isinstance(given, str):
        if language == "cql2-json":
            raise RequestInvalid("filter is an object where filter-lang is cql2-json.")
        return given
    if language == "cql2-text":
        raise RequestInvalid("filter is a text where filter-lang is cql2-text.")
    return given


def _query(given: Any) -> list[Any]:
    """Return the conditions of the older `query` extension."""
    if not isinstance(given, Mapping):
        raise RequestInvalid('query is an object such as {"eo:cloud_cover": {"lt": 20}}.')
    found: list[Any] = []
    for name, conditions in given.items():
        if not isinstance(conditions, Mapping):
            raise RequestInvalid(f"query.{name[:80]} is an object such as {{'lt': 20}}.")
        one = {"property": name}
        for operator, value in conditions.items():
            if operator in _COMPARED:
                found.append(_compared(_COMPARED[operator], one, value))
            elif operator == "in" and isinstance(value, list):
                numbers = [n for n in map(_number_in, value) if n is not None]
                found.append({"op": "in", "args": [one, [*value, *numbers]]})
            elif operator in {"startsWith", "endsWith", "contains"} and isinstance(value, str):
                plain = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
                before, after = "%" * (operator != "startsWith"), "%" * (operator != "endsWith")
                found.append({"op": "like", "args": [one, f"{before}{plain}{after}"]})
            else:
                raise RequestInvalid(
                    f"query.{name[:80]} has {str(operator)[:20]!r}, which is not known, or a wrong "
                    f"value for it. Known are {', '.join(_COMPARED)}, in, startsWith, endsWith, "
                    "contains."
                )
    return found


def _compared(operator: str, one: Mapping[str, str], value: Any) -> dict[str, Any]:
    """Return a comparison; text that reads as a number stands for the number, too.

    Clients that take conditions from a command line send all values as text.
    """
    comparison = {"op": operator, "args": [one, value]}
    number = _number_in(value)
    if number is None:
        return comparison
    both = [comparison, {"op": operator, "args": [one, number]}]
    return {"op": "and" if operator == "<>" else "or", "args": both}


def _number_in(value: Any) -> float | None:
    """Return the number that a text holds; None where it holds none."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    return int(value) if value.lstrip("-").isdecimal() else float(value)


def period_of(text: str) -> tuple[datetime | None, datetime | None]:
    """Return the ends of a `datetime`, as STAC and OGC API have it; None where open.

    Raises:
        RequestInvalid: it is none.
    """
    ends = text.split("/")
    texts = [None if end in {"", ".."} else end for end in (ends[0], ends[-1])]
    # A day alone could mean its first instant or all of it: the API has whole times only.
    whole = all(end is None or len(end) > len("2024-05-01") for end in texts)
    if len(ends) > 2 or texts == [None, None] or not whole:  # noqa: PLR2004 - two ends
        raise RequestInvalid(
            f"datetime {text[:80]!r} is no time. Valid are 2024-05-01T00:00:00Z, 2024-05-01T00:00:"
            "00Z/.. and two times with / between; a day is 2024-05-01T00:00:00Z/"
            "2024-05-01T23:59:59.999999Z."
        )
    try:
        first, last = (None if end is None else parse_time(end) for end in texts)
    except ArgumentInvalid as problem:
        raise RequestInvalid(f"datetime: {problem}") from None
    if first is not None and last is not None and first > last:
        raise RequestInvalid(f"datetime {text[:80]!r} ends before it begins.")
    return first, last
