"""What a request for features asks for, checked before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from terrazzo.catalog import Filter
from terrazzo.catalog.space import check_bbox
from terrazzo.drivers.features.conditions import check_names
from terrazzo.drivers.features.finding import Wanted
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.crs import WEB_MERCATOR, WGS84, crs_object, epsg, is_geographic
from terrazzo.geo.extent import SpatialExtent
from terrazzo.server.stac.query import (
    FEW,
    MOST,
    numbers_of,
    of_parameters,
    period_of,
    read_query,
    whole_of,
)
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.paging import keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.drivers.features.tables import Attributes
    from terrazzo.geo.grid import Bounds

CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG: Final = "http://www.opengis.net/def/crs/EPSG/0/"
_BOX, _BOX_OF_HEIGHT = 4, 6
_PLACES = 3


class FeaturesAsked(BaseModel):
    """Parameters of a request for features; others are attributes that have a value."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    bbox: str | None = Field(None, description="West,south,east,north; see `bbox-crs`.")
    bbox_crs: str | None = Field(None, alias="bbox-crs", description="CRS of `bbox`, an address.")
    datetime: str | None = Field(None, description="A time, or two with / between, `..` open.")
    limit: str | None = Field(None, description="Features of a page.")
    token: str | None = Field(None, description="Where to go on, from the link `next`.")
    crs: str | None = Field(None, description="CRS of the answer, an address.")
    properties: str | None = Field(None, description="Attributes with commas between.")
    filter: str | None = Field(None, description="A condition in CQL2.")
    filter_lang: str | None = Field(None, alias="filter-lang", description="cql2-text or -json.")
    filter_crs: str | None = Field(None, alias="filter-crs", description="OGC's CRS84.")

    def told(self) -> dict[str, str]:
        """Return what was given, by the names of OGC API."""
        return self.model_dump(by_alias=True, exclude_none=True)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins."""

    item: str = ""
    """The item; empty for the first one."""
    position: int = 0
    """Of the first feature in its file."""
    stamp: str = ""
    """What the file was known by when the page before was read."""


@dataclass(frozen=True, slots=True)
class Crs:
    """A coordinate reference system as addresses name it."""

    address: str
    """Its address."""
    name: str
    """Its canonical name."""
    north_first: bool
    """Whether coordinates are written with northing or latitude before the other one."""


def crs_offered(storage: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of the CRS in which features are had: of those they are stored in."""
    codes = [code for code in map(epsg, (WGS84, WEB_MERCATOR, *storage)) if code is not None]
    return CRS84, *(f"{EPSG}{code}" for code in dict.fromkeys(codes))


def crs_of(address: str | None, parameter: str, offered: Sequence[str]) -> Crs:
    """Return the CRS that a parameter names.

    Raises:
        RequestInvalid: it is not one of those that are offered.
    """
    address = address or CRS84
    if address not in offered:
        raise RequestInvalid(
            f"{parameter} {address[:80]!r} is not offered here; these are: {', '.join(offered)}."
        )
    if address == CRS84:
        return Crs(address, WGS84, north_first=False)
    name = f"EPSG:{address.removeprefix(EPSG)}"
    return Crs(address, name, north_first=is_north_first(name))


def is_north_first(name: str) -> bool:
    """Tell whether coordinates of a CRS are written with northing or latitude first."""
    axes = crs_object(name).axis_info
    return bool(axes) and axes[0].direction == "north"


def properties_of(
    text: str | None, attributes: Attributes, most: int | None = None
) -> tuple[str, ...] | None:
    """Return the attributes that are asked for; None where nothing is said.

    Args:
        text: names with commas between.
        attributes: of the features.
        most: how many there may be; None for any number.

    Raises:
        RequestInvalid: there is no such attribute, or there are too many.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    for name in names:
        if attributes.whole and name not in attributes.types:
            raise RequestInvalid(
                f"properties has {name[:80]!r}, which no feature has."
                f"{suggest(name, tuple(attributes.types))}"
            )
    if most is not None and len(names) > most:
        raise RequestInvalid(f"properties has {len(names)} names, and may have {most} here.")
    return names


def limit_of(text: str | None) -> int:
    """Return how many features a page has at most.

    Raises:
        RequestInvalid: it is no number of features.
    """
    if not text:
        return FEW
    limit = whole_of("limit", text)
    if limit < 1:
        raise RequestInvalid(f"limit is a number of features from 1 to {MOST}, not {limit}.")
    return min(limit, MOST)


def place_of(token: str | None) -> Place:
    """Return where a page begins.

    Raises:
        RequestInvalid: the token is none of this server.
    """
    if not token:
        return Place()
    keys = keys_of(token, "token")
    if len(keys) != _PLACES or not (keys[1].isascii() and keys[1].isdecimal()):
        raise RequestInvalid(
            "`token` is not a place in these features. Follow the link with rel=next instead of "
            "making one."
        )
    return Place(keys[0], int(keys[1][:15]), keys[2])


def wanted_of(given: FeaturesAsked, attributes: Attributes, offered: Sequence[str]) -> Wanted:
    """Return what features have to meet.

    Args:
        given: the parameters.
        attributes: of the features.
        offered: addresses of CRS.

    Raises:
        RequestInvalid, ArgumentInvalid, FilterInvalid: one is wrong; says which.
    """
    conditions: list[Filter] = []
    extra = {str(name): value for name, value in (given.model_extra or {}).items()}
    known = {*attributes.types, *(name for name in given.told() if name not in extra)}
    for name, value in extra.items():
        if name not in attributes.types and attributes.whole:
            raise RequestInvalid(
                f"There is no parameter or attribute {name[:80]!r}."
                f"{suggest(name, tuple(known))} Attributes: "
                f"{', '.join(sorted(attributes.types))[:500] or 'none'}."
            )
        conditions.append(_equal(name, value, attributes.types.get(name, "")))
    told = {name: text for name, text in given.told().items() if name.startswith("filter") and text}
    asked = read_query(of_parameters(told)).condition if told else None
    if asked is not None:
        conditions.append(asked)
    condition = Filter.all_of(conditions) if conditions else None
    if condition is not None and attributes.whole:
        check_names(condition, attributes.types)
    names = properties_of(given.properties, attributes)
    period = period_of(given.datetime) if given.datetime else None
    extent = (
        _extent(given.bbox, crs_of(given.bbox_crs, "bbox-crs", offered)) if given.bbox else None
    )
    return Wanted(extent, period, condition, crs_of(given.crs, "crs", offered).name, names)


def _extent(text: str, crs: Crs) -> SpatialExtent:
    numbers = numbers_of("bbox", text)
    if crs.address == CRS84:
        return SpatialExtent(check_bbox(numbers, "bbox"), WGS84)
    if len(numbers) == _BOX_OF_HEIGHT:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != _BOX or not all(abs(number) < 1e9 for number in numbers):  # noqa: PLR2004 - farther than the Earth is wide
        raise RequestInvalid(f"bbox {text[:80]!r} is not four finite numbers.")
    if crs.north_first:
        numbers = [numbers[1], numbers[0], numbers[3], numbers[2]]
    if is_geographic(crs.name):
        return SpatialExtent(check_bbox(numbers, "bbox"), crs.name)
    left, bottom, right, top = numbers
    if left > right or bottom > top:
        raise RequestInvalid(f"bbox {text[:80]!r} ends before it begins. It is {crs.address}.")
    bounds: Bounds = left, bottom, right, top
    return SpatialExtent(bounds, crs.name)


def _equal(name: str, text: object, kind: str) -> Filter:
    """Return the condition that an attribute has a value, which came as text.

    Raises:
        RequestInvalid: the attribute holds no such values.
    """
    if not isinstance(text, str):
        raise RequestInvalid(f"The parameter {name[:80]!r} is given more than once.")
    value: Any = text
    if kind.startswith(("int", "uint", "float", "double", "halffloat", "decimal")):
        numbers = numbers_of(name[:80], text)
        if len(numbers) != 1:
            raise RequestInvalid(f"{name[:80]} is one number, not {text[:80]!r}.")
        value = numbers[0]
        value = int(value) if value.is_integer() else value
    elif kind == "bool":
        if text.lower() not in {"true", "false"}:
            raise RequestInvalid(f"{name[:80]} is true or false, not {text[:20]!r}.")
        value = text.lower() == "true"
    try:
        return Filter.of({"op": "=", "args": [{"property": name}, value]})
    except ArgumentInvalid as problem:
        raise RequestInvalid(f"{name[:80]}: {problem}") from None
