"""Routes of the aggregation extension: what the items of a search have in common, in numbers."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from terrazzo.catalog import Asked, Catalog
from terrazzo.catalog.aggregation import (
    GRIDS,
    RANGES,
    Options,
    Tally,
    advertised,
    aggregated,
    tally_of,
)
from terrazzo.ledger import Principal
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.stac.collection_documents import queryables
from terrazzo.server.stac.item_pages import Searched
from terrazzo.server.stac.query import StacQuery, numbers_of, of_parameters, read_query, whole_of
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.links import address, link
from terrazzo.server.web.patience import Patience, patience_of
from terrazzo.server.web.payload import read_object
from terrazzo.server.web.waiting import Waiting

router = APIRouter(tags=["STAC"])

countings = Waiting(2)
"""Counting looks at every item that a search finds: searches keep their own threads."""
Shared = Annotated[Parts, Depends(parts)]
Anybody = Annotated[Principal, Depends(principal)]
LARGEST = 1_000_000
"""Bytes of a request."""
CLASSES = (
    "https://api.stacspec.org/v0.3.0/aggregation",
    "https://api.stacspec.org/v0.3.0/aggregation#query",
    "https://api.stacspec.org/v0.3.0/aggregation#filter",
)
"""The conformance classes of what the routes here do."""
_MOST = 50
"""Aggregations of one request, and cuts of a range."""
_INTERVAL = "datetime_frequency_interval"
_PRECISIONS = {f"{name}_precision": name for name in GRIDS}
_RANGES = {f"{name}_frequency_ranges": f"{name}_frequency" for name in RANGES}
_UNSEEN = 256
"""Collections whose properties are looked at to list what can be asked of all."""


class Aggregated(Searched):
    """Parameters of an aggregation by GET: those of a search, and these."""

    aggregations: str | None = Field(None, description="Names with commas between.")
    datetime_frequency_interval: str | None = Field(
        None, description="auto, second, minute, hour, day, week, month or year."
    )
    centroid_geohash_grid_frequency_precision: str | None = Field(None, description="1 to 12.")
    centroid_geotile_grid_frequency_precision: str | None = Field(None, description="0 to 29.")
    cloud_cover_frequency_ranges: str | None = Field(None, description="Where to cut: 10,20,50.")
    sun_elevation_frequency_ranges: str | None = Field(None, description="Where to cut.")
    sun_azimuth_frequency_ranges: str | None = Field(None, description="Where to cut.")
    off_nadir_frequency_ranges: str | None = Field(None, description="Where to cut.")


@router.get("/aggregations")
def all_aggregations(who: Anybody, request: Request, shared: Shared) -> dict[str, Any]:
    """List what can be asked of the items of all collections."""
    with shared.workspace_of(who).catalog() as catalog:
        known: dict[str, Any] = {}
        for document in catalog.collections()[:_UNSEEN]:
            known |= _properties(catalog, document["id"]) | known
    here = address(request, shared.settings, "aggregations")
    target = address(request, shared.settings, "aggregate")
    return _listed(request, shared, here, target, advertised(dict(sorted(known.items()))))


@router.get("/aggregate")
async def aggregate(
    who: Anybody, request: Request, shared: Shared, given: Annotated[Aggregated, Query()]
) -> dict[str, Any]:
    """Tell what the items of a search have in common, in numbers."""
    return await _answer(shared, who, request, _of_parameters(given.told()))


@router.post("/aggregate")
async def aggregate_by_body(who: Anybody, request: Request, shared: Shared) -> dict[str, Any]:
    """Tell what the items of a search have in common, in numbers; the body is a search."""
    body = await read_object(request, min(LARGEST, shared.settings.limits.body_bytes))
    return await _answer(shared, who, request, body)


# Ids may hold slashes, so these come before the route of a collection.
@router.get("/collections/{collection_id:path}/aggregations")
def aggregations(
    collection_id: str, who: Anybody, request: Request, shared: Shared
) -> dict[str, Any]:
    """List what can be asked of the items of a collection."""
    with shared.workspace_of(who).catalog() as catalog:
        known = _properties(catalog, collection_id)
    here = address(request, shared.settings, "collections", collection_id, "aggregations")
    target = address(request, shared.settings, "collections", collection_id, "aggregate")
    return _listed(request, shared, here, target, advertised(known))


@router.get("/collections/{collection_id:path}/aggregate")
async def aggregate_one(
    collection_id: str,
    who: Anybody,
    request: Request,
    shared: Shared,
    given: Annotated[Aggregated, Query()],
) -> dict[str, Any]:
    """Tell what items of a collection have in common, in numbers."""
    return await _answer(shared, who, request, _of_parameters(given.told()), collection_id)


@router.post("/collections/{collection_id:path}/aggregate")
async def aggregate_one_by_body(
    collection_id: str, who: Anybody, request: Request, shared: Shared
) -> dict[str, Any]:
    """Tell what items of a collection have in common, in numbers; the body is a search."""
    body = await read_object(request, min(LARGEST, shared.settings.limits.body_bytes))
    return await _answer(shared, who, request, body, collection_id)


async def _answer(
    shared: Parts,
    who: Principal,
    request: Request,
    members: Mapping[str, Any],
    collection: str | None = None,
) -> dict[str, Any]:
    names, options, query = _read(members, collection)
    tallies = [tally_of(name, options) for name in names]
    async with patience_of(request) as patience:
        counted = await countings.run(_counted, shared, who, query, tallies, collection, patience)
    root = address(request, shared.settings) + "/"
    return {
        "type": "AggregationCollection",
        "aggregations": counted,
        "links": [link("self", str(request.url)), link("root", root)],
    }


def _counted(
    shared: Parts,
    who: Principal,
    query: StacQuery,
    tallies: list[Tally],
    collection: str | None,
    patience: Patience,
) -> list[dict[str, Any]]:
    """Count what a search finds.

    Raises:
        CollectionNotFound: lists the collections that there are.
        RequestInvalid: the collection has no such aggregation.
    """
    asked: Asked = {**query.asked, "check": patience}
    with shared.workspace_of(who).catalog() as catalog:
        if collection is not None:
            _check(catalog, collection, [tally.name for tally in tallies])
        found = catalog.facts(query.collections, **asked)
        return aggregated(found, tallies) if tallies else []


def _check(catalog: Catalog, collection: str, names: list[str]) -> None:
    known = [one["name"] for one in advertised(_properties(catalog, collection))]
    missing = [name for name in names if name not in known]
    if missing:
        raise RequestInvalid(
            f"Collection {collection!r} has no aggregation {missing[0][:80]!r}. It has "
            f"{', '.join(known)}."
        )


def _properties(catalog: Catalog, collection: str) -> dict[str, Any]:
    properties: dict[str, Any] = queryables(catalog, collection, "")["properties"]
    return properties


def _listed(
    request: Request, shared: Parts, here: str, target: str, known: list[dict[str, str]]
) -> dict[str, Any]:
    root = address(request, shared.settings) + "/"
    links = [link("self", here), link("root", root), link("aggregate", target)]
    return {"aggregations": known, "links": links}


def _of_parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of a GET as the members of a body."""
    members = of_parameters(given)
    if "aggregations" in members:
        members["aggregations"] = [name.strip() for name in members["aggregations"].split(",")]
    for name in _PRECISIONS:
        if name in members:
            members[name] = whole_of(name, members[name])
    for name in _RANGES:
        if name in members:
            members[name] = numbers_of(name, members[name])
    return members


def _read(
    members: Mapping[str, Any], collection: str | None
) -> tuple[list[str], Options, StacQuery]:
    """Read which aggregations of which search are asked for.

    Raises:
        RequestInvalid, ArgumentInvalid, FilterInvalid: a member is wrong; says which.
    """
    own = {"aggregations", _INTERVAL, *_PRECISIONS, *_RANGES}
    query = read_query({name: value for name, value in members.items() if name not in own})
    if collection is not None:
        query = query.within(collection)
    names = members["aggregations"] if members.get("aggregations") is not None else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestInvalid("aggregations is a list of names; GET /aggregations lists them.")
    if len(names) > _MOST:
        raise RequestInvalid(f"aggregations has {len(names)} names and may have {_MOST}.")
    interval = "auto" if members.get(_INTERVAL) is None else members[_INTERVAL]
    if not isinstance(interval, str):
        raise RequestInvalid(f"{_INTERVAL} is a text.")
    precisions = {
        name: _precision(parameter, members[parameter])
        for parameter, name in _PRECISIONS.items()
        if members.get(parameter) is not None
    }
    ranges = {
        name: _cuts(parameter, members[parameter])
        for parameter, name in _RANGES.items()
        if members.get(parameter) is not None
    }
    return list(dict.fromkeys(names)), Options(interval, precisions, ranges), query


def _precision(name: str, given: Any) -> int:
    if type(given) is not int:
        raise RequestInvalid(f"{name} is a whole number, not {str(given)[:40]}.")
    return given


def _cuts(name: str, given: Any) -> tuple[float, ...]:
    plain = isinstance(given, list) and all(type(one) in {int, float} for one in given)
    if not plain or not 0 < len(given) <= _MOST or sorted(set(given)) != given:
        raise RequestInvalid(f"{name} is a list of 1 to {_MOST} numbers that ascend.")
    if not all(abs(one) < 1e300 for one in given):  # noqa: PLR2004 - what a float can hold
        raise RequestInvalid(f"{name} has a number that is too large.")
    return tuple(map(float, given))
