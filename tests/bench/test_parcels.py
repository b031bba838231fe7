"""The benchmark of parcels: what it is run on, and what it holds its contestants to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
from bench.contestants import decoding, parcel_peers
from bench.data import Dataset, dataset
from bench.dataset import LEFT, PIXEL, TOP
from bench.fields import SENTINEL_2, as_dense, parcels, sample
from bench.measure import Outcome, Timing
from bench.report import Table

from bench import parcels as benchmark

if TYPE_CHECKING:
    from pathlib import Path

# rasterio 1.4 multiplies affine 3 matrices in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(512, 1, folder=tmp_path_factory.mktemp("bench-parcels"))


def test_a_smaller_scene_has_as_many_parcels_to_a_pixel() -> None:
    assert as_dense(100_000, SENTINEL_2) == 100_000
    assert as_dense(100_000, SENTINEL_2 // 2) == 25_000
    assert as_dense(10, 512) == 1


def test_parcels_are_fields_of_the_landscape_each_once(small: Dataset) -> None:
    fields = geopandas.read_parquet(small.parcels)

    some = geopandas.read_parquet(parcels(small, 100))

    assert list(some["parcel"]) == list(range(100))
    places = {shape.wkb for shape in some.geometry}
    assert len(places) == 100
    assert places < {shape.wkb for shape in fields.geometry}


def test_more_parcels_than_fields_lie_over_each_other(small: Dataset) -> None:
    fields = geopandas.read_parquet(small.parcels)
    count = 2 * len(fields)

    many = geopandas.read_parquet(parcels(small, count))

    assert len({shape.wkb for shape in many.geometry}) == count
    assert many.area.mean() == pytest.approx(fields.area.mean(), rel=0.05)


def test_a_sample_has_the_numbers_of_the_whole(small: Dataset) -> None:
    whole = parcels(small, 1500)

    some = geopandas.read_parquet(sample(whole))

    there = geopandas.read_parquet(whole).set_index("parcel").geometry
    assert len(some) == 1000
    assert all(there[number].equals(shape) for number, shape in some.to_numpy())


def test_only_tiles_that_parcels_touch_are_decoded(tmp_path: Path, small: Dataset) -> None:
    large = Dataset(small.home, 1024, 1)
    shapes = geopandas.GeoSeries.from_xy([LEFT + 600 * PIXEL], [TOP - 700 * PIXEL]).buffer(50)
    geopandas.GeoDataFrame(geometry=shapes).to_parquet(tmp_path / "one.parquet")

    (window,) = decoding.touched(large, tmp_path / "one.parquet")

    assert (window.row_off, window.col_off) == (512, 512)


@pytest.mark.parametrize(("one", "other"), [("exactextract", "xvec"), ("rasterstats", "geocube")])
def test_peers_that_weigh_alike_agree(one: str, other: str, small: Dataset) -> None:
    given = {"data": small.parameters, "parcels": str(parcels(small, 100)), "pixels": False}

    found = [parcel_peers.contestant(given | {"way": way})["images"]() for way in (one, other)]

    assert found[0]["mean"].shape == (1, 100)
    for name, tolerance in benchmark.TOLERANCE.items():
        np.testing.assert_allclose(found[0][name], found[1][name], atol=tolerance, rtol=0)


def test_a_peer_with_other_numbers_is_a_problem() -> None:
    right = {name: np.ones((2, 5)) for name in benchmark.TOLERANCE}
    wrong = right | {"sd": right["sd"] + np.eye(2, 5) * 1e-4}
    arrays = {("images", benchmark.OURS): right, ("images", benchmark.EXACT): wrong}
    table = Table("A thing", ())

    share = benchmark.share_alike(Outcome({}, arrays, {}), benchmark.EXACT, table)

    assert share == 0.8
    assert "only 80.0000%" in table.problems[0]


def test_core_hours_are_those_of_a_thousand_million_parcel_images() -> None:
    table = benchmark.extrapolated({100_000: 1e9 / 3600})

    assert [row.cells[1:] for row in table.rows] == [("1.00", "2,000"), ("2000", "1")]


def test_the_rate_after_decoding_counts_the_images_that_were_reduced() -> None:
    timing = Timing(0.5, 0.5, 0, 0.5, (0.5, 0.5))
    arrays = {("pixels", "a"): {"images": np.array(12)}}

    rates = benchmark.after_decoding(Outcome({("pixels", "a"): timing}, arrays, {}), 1000)

    assert rates == {"a": 24_000.0}
