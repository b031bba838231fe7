"""Aggregations equal what the items of the search say, counted by other means."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.catalog.drawn import COLLECTION, drawn_filter, drawn_items

from terrazzo.catalog import aggregation, make_collection, open_catalog
from terrazzo.catalog.aggregation import (
    CHOICES,
    INTERVALS,
    Options,
    advertised,
    aggregated,
    centre,
    tally_of,
)
from terrazzo.catalog.cells import geohash, geotile
from terrazzo.catalog.cql2_operators import Facts
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.catalog import Catalog

ITEMS = 300


@pytest.fixture(scope="module")
def catalog(module_address: str) -> Iterator[Catalog]:
    with open_catalog(module_address) as catalog:
        catalog.put_collection(make_collection(COLLECTION))
        catalog.put_items(drawn_items(Random(7), ITEMS))
        yield catalog


def counted(items: Any, *names: str, **options: Any) -> dict[str, Any]:
    """Aggregate facts, or items."""
    tallies = [tally_of(name, Options(**options)) for name in names]
    facts = (Facts(item) if isinstance(item, dict) else item for item in items)
    return {one["name"]: one for one in aggregated(facts, tallies)}


def frequencies(told: dict[str, Any]) -> dict[str, int]:
    return {bucket["key"]: bucket["frequency"] for bucket in told["buckets"]}


def start(item: dict[str, Any]) -> datetime:
    properties = item["properties"]
    return parse_time(properties["datetime"] or properties["start_datetime"])


def end(item: dict[str, Any]) -> datetime:
    properties = item["properties"]
    return parse_time(properties["datetime"] or properties["end_datetime"])


# over searches


@given(seed=st.integers(0, 10**6))
def test_numbers_are_those_of_the_items_that_the_search_finds(catalog: Catalog, seed: int) -> None:
    condition = drawn_filter(Random(seed), 2)
    found = list(catalog.search(filter=condition))

    told = counted(
        catalog.facts(filter=condition),
        "total_count", "datetime_min", "datetime_max", "collection_frequency",
        "platform_frequency", "cloud_cover_frequency", "cloud_cover_min", "cloud_cover_max",
        "cloud_cover_mean", "datetime_frequency", "centroid_geohash_grid_frequency",
        interval="day", precisions={"centroid_geohash_grid_frequency": 3},
    )  # fmt: skip

    clouds = [one["properties"].get("eo:cloud_cover") for one in found]
    clouds = [cloud for cloud in clouds if cloud is not None]
    edges = [-np.inf, 5, 15, 40, np.inf]
    assert told["total_count"]["value"] == len(found)
    assert told["datetime_min"]["value"] == (format_time(min(map(start, found))) if found else None)
    assert told["datetime_max"]["value"] == (format_time(max(map(end, found))) if found else None)
    assert frequencies(told["collection_frequency"]) == Counter(one["collection"] for one in found)
    platforms = Counter(one["properties"].get("platform") for one in found)
    platforms.pop(None, None)
    assert frequencies(told["platform_frequency"]) == platforms
    ranges = [bucket["frequency"] for bucket in told["cloud_cover_frequency"]["buckets"]]
    assert ranges == [sum(low <= cloud < high for cloud in clouds) for low, high in pairwise(edges)]
    single = [told[f"cloud_cover_{kind}"]["value"] for kind in ("min", "max", "mean")]
    meant = [min(clouds), max(clouds), float(np.mean(clouds))] if clouds else [None] * 3
    assert single == (pytest.approx(meant) if clouds else meant)
    days = Counter(format_time(start(one).replace(hour=0)) for one in found)
    assert frequencies(told["datetime_frequency"]) == days
    cells = Counter(geohash(centre(Facts(one)), 3) for one in found)
    assert frequencies(told["centroid_geohash_grid_frequency"]) == cells


def test_buckets_of_ranges_say_where_they_begin_and_end() -> None:
    items = [make(0, **{"eo:cloud_cover": cloud}) for cloud in (-1, 0, 9.9, 10, 50, "none", True)]

    told = counted(items, "cloud_cover_frequency", ranges={"cloud_cover_frequency": (0.0, 10.0)})

    assert told["cloud_cover_frequency"] == {
        "name": "cloud_cover_frequency",
        "data_type": "frequency_distribution",
        "overflow": 0,
        "buckets": [
            {"key": "*-0.0", "data_type": "numeric", "frequency": 1, "to": 0.0},
            {"key": "0.0-10.0", "data_type": "numeric", "frequency": 2, "from": 0.0, "to": 10.0},
            {"key": "10.0-*", "data_type": "numeric", "frequency": 2, "from": 10.0},
        ],
    }


def make(day: float, **properties: Any) -> dict[str, Any]:
    time = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return {
        "id": str(day),
        "collection": "c",
        "bbox": [10, 50, 12, 52],
        "geometry": None,
        "properties": {"datetime": format_time(time), **properties},
    }


# slots of time


@pytest.mark.parametrize("interval", [*INTERVALS, "week"])
def test_slots_are_numpys(interval: str) -> None:
    draw = Random(3)
    items = [make(draw.uniform(0, 1000)) for _ in range(300)]
    unit = {"second": "s", "minute": "m", "hour": "h", "day": "D", "month": "M", "year": "Y"}

    told = counted(items, "datetime_frequency", interval=interval)["datetime_frequency"]

    times = np.array([start(one).replace(tzinfo=None) for one in items], "datetime64[s]")
    if interval == "week":  # numpy's weeks begin on Thursdays, as 1970 did
        slots = (times - np.timedelta64(4, "D")).astype("datetime64[W]").astype("datetime64[D]")
        slots = slots + np.timedelta64(4, "D")
    else:
        slots = times.astype(f"datetime64[{unit[interval]}]")
    keys, counts = np.unique(slots.astype("datetime64[s]"), return_counts=True)
    assert frequencies(told) == {f"{key}Z": count for key, count in zip(keys, counts, strict=True)}
    assert told["interval"] == interval


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=50),
    st.sampled_from((1, 60, 3600, 86400, 10**6)),
)
def test_automatic_slots_do_not_depend_on_the_order_of_items(seconds: list[int], step: int) -> None:
    items = [make(second % (step * 200) / 86400) for second in seconds]

    one = counted(items, "datetime_frequency")["datetime_frequency"]
    other = counted(reversed(items), "datetime_frequency")["datetime_frequency"]
    chosen = counted(items, "datetime_frequency", interval=one["interval"])["datetime_frequency"]

    assert one == other == chosen
    assert len(one["buckets"]) <= 100 or one["interval"] == "year"


def test_automatic_slots_are_as_short_as_a_hundred_of_them_allow() -> None:
    spans = {"second": 1e-3, "minute": 0.05, "hour": 3, "day": 99, "month": 3000, "year": 4000}

    told = {
        interval: counted([make(0), make(days)], "datetime_frequency")["datetime_frequency"]
        for interval, days in spans.items()
    }

    assert {name: one["interval"] for name, one in told.items()} == {name: name for name in spans}


# places


@pytest.mark.parametrize(
    ("place", "name"),
    [((-5.6, 42.6), "ezs42"), ((10.40744, 57.64911), "u4pruydqqvj"), ((-180, -90), "0"),
     ((180, 90), "z"), ((112.5584, 37.8324), "ww8p1r4t8")],
)  # fmt: skip
def test_geohashes_are_those_that_are_published(place: tuple[float, float], name: str) -> None:
    assert geohash(place, len(name)) == name


@pytest.mark.parametrize(
    ("place", "zoom", "name"),
    [((0, 0), 0, "0/0/0"), ((180, -90), 3, "3/7/7"), ((-180, 90), 3, "3/0/0"),
     ((13.4, 52.5), 10, "10/550/335")],
)  # fmt: skip
def test_tiles_are_those_of_web_maps(place: tuple[float, float], zoom: int, name: str) -> None:
    assert geotile(place, zoom) == name


@given(st.floats(-180, 180), st.floats(-90, 90), st.integers(1, 11))
def test_a_geohash_begins_with_the_coarser_one(lon: float, lat: float, precision: int) -> None:
    assert geohash((lon, lat), precision + 1).startswith(geohash((lon, lat), precision))


@pytest.mark.parametrize(
    ("bbox", "geometry", "place"),
    [
        ([10, 50, 12, 52], None, (11, 51)),
        ([-180, -90, 180, 90], None, (0, 0)),
        ([179, 0, -177, 2], None, (-179, 1)),
        ([179, 0, -179, 2], {"type": "MultiPolygon", "coordinates": [
            [[[179, 0], [180, 0], [180, 2], [179, 2], [179, 0]]],
            [[[-180, 0], [-179, 0], [-179, 2], [-180, 2], [-180, 0]]],
        ]}, (-180, 1)),
        ([0, 0, 4, 4], {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]]]},
         (8 / 3, 4 / 3)),
    ],
)  # fmt: skip
def test_the_centre_is_the_centroid_of_the_footprint(
    tmp_path: Path, bbox: list[float], geometry: Any, place: tuple[float, float]
) -> None:
    item = make(0) | {"bbox": bbox, "geometry": geometry, "type": "Feature", "id": "a"}
    with open_catalog(tmp_path / "catalog.sqlite") as catalog:
        catalog.put_collection(make_collection("c"))
        catalog.put_items([item])
        (kept,) = catalog.facts()

        assert centre(kept) == pytest.approx(place)
        assert centre(Facts(item)) == pytest.approx(place)


# limits, and what is wrong


def test_more_values_than_are_told_apart_are_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "MOST_KEYS", 10)
    monkeypatch.setattr(aggregation, "MOST_BUCKETS", 4)
    items = [make(0, platform=f"p{number % 12:02}") for number in range(30)]

    told = counted(items, "platform_frequency")["platform_frequency"]

    assert [bucket["key"] for bucket in told["buckets"]] == ["p00", "p01", "p02", "p03"]
    assert told["overflow"] + sum(frequencies(told).values()) == len(items)


def test_long_texts_are_overflow() -> None:
    items = [make(0, platform=name) for name in ("p" * 200, "p" * 201, "p" * 200)]

    told = counted(items, "platform_frequency")["platform_frequency"]

    assert frequencies(told) == {"p" * 200: 2}
    assert told["overflow"] == 1


@pytest.mark.parametrize("value", [10**400, 1.5e308, -1.5e308])
def test_numbers_too_large_to_add_up_have_no_mean(value: float) -> None:
    told = counted([make(0, gsd=value), make(0, gsd=value)], "gsd_mean", "gsd_max")

    assert told["gsd_mean"]["value"] is None
    assert told["gsd_max"]["value"] == (None if value == 10**400 else value)


@pytest.mark.parametrize("name", ["", "nothing", "_frequency", "frequency", "a_sum", "datetime"])
def test_an_unknown_aggregation_is_told(name: str) -> None:
    with pytest.raises(ArgumentInvalid, match="Known are total_count"):
        tally_of(name, Options())


def test_unknown_intervals_and_precisions_are_told() -> None:
    grid = "centroid_geohash_grid_frequency"

    with pytest.raises(ArgumentInvalid, match=", ".join(CHOICES)):
        tally_of("datetime_frequency", Options(interval="fortnight"))
    with pytest.raises(ArgumentInvalid, match="1 to 12"):
        tally_of(grid, Options(precisions={grid: 13}))


def test_what_is_advertised_can_be_asked_for() -> None:
    queryables = {
        "eo:cloud_cover": {"type": "number"},
        "platform": {"type": "string"},
        "created": {"type": "string", "format": "date-time"},
        "mixed": {"type": ["number", "string"]},
    }

    names = [one["name"] for one in advertised(queryables)]

    assert {"total_count", "cloud_cover_frequency", "platform_frequency"} <= set(names)
    assert not {"created_frequency", "mixed_frequency"} & set(names)
    assert [tally_of(name, Options()).name for name in names] == names


# counts without looking


def test_the_count_of_whole_collections_is_known(catalog: Catalog) -> None:
    assert catalog.known_count() == ITEMS
    assert catalog.known_count([COLLECTION, COLLECTION]) == ITEMS


@given(seed=st.integers(0, 10**6))
def test_counts_and_facts_are_those_of_the_search(catalog: Catalog, seed: int) -> None:
    condition = drawn_filter(Random(seed), 1)

    known = catalog.known_count(filter=condition)
    looked_at = [one.get("id") for one in catalog.facts(filter=condition)]

    found = [item["id"] for item in catalog.search(filter=condition)]
    assert known in {None, len(found)}
    assert looked_at == found


def test_a_search_ends_when_it_is_told_to(catalog: Catalog) -> None:
    class Enough(Exception):
        pass

    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise Enough

    with pytest.raises(Enough):
        list(catalog.search(filter="casei(platform) = casei('none')", check=check))
