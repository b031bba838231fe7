"""Statistics, values, profiles and transects against other people's programs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from exactextract import exact_extract
from pyproj import Geod, Transformer
from scipy.sparse import diags, eye
from scipy.sparse.linalg import spsolve
from tests.drivers.scenes import asset_of, callback, load, node, ref, register, write_cog
from tests.server.small import DATES, EDGE, LEFT, PIXEL, TOP, nir, red

from terrazzo.catalog import BandInfo
from terrazzo.drivers.screen.answers import answer
from terrazzo.drivers.screen.layer import open_layer
from terrazzo.errors import ArgumentInvalid, BandNotFound, NoDataAvailable
from terrazzo.geo.grid import Grid
from terrazzo.progress import Cancelled, Stoppable

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.screen.layer import Layer

UTM = "EPSG:32634"
WHOLE = {"bounds": [LEFT, TOP - EDGE * PIXEL, LEFT + EDGE * PIXEL, TOP], "crs": UTM}
DEGREES = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
FIELD = shapely.Polygon([(15.5, 20.2), (71.1, 33.7), (60.4, 90.9), (22.0, 70.5)])
"""In pixels, columns and rows."""


def in_degrees(shape: shapely.Geometry) -> dict[str, Any]:
    def moved(at: np.ndarray) -> np.ndarray:
        return np.stack(DEGREES.transform(LEFT + at[:, 0] * PIXEL, TOP - at[:, 1] * PIXEL), axis=-1)

    return shapely.geometry.mapping(shapely.transform(shape, moved))


def index(year: int) -> np.ndarray:
    a, b = nir(year).astype(np.float64), red(year).astype(np.float64)
    return np.where((a > 0) & (b > 0), (a - b) / np.where(a + b == 0, 1, a + b), np.nan)


def test_statistics_are_those_of_numpy(ndvi: Layer) -> None:
    found = answer(ndvi, "statistics", {**WHOLE, "width": EDGE, "height": EDGE})

    assert isinstance(found, dict)
    assert found["resolution"] == PIXEL
    (band,) = found["bands"]
    numbers = index(2019)
    seen = numbers[np.isfinite(numbers)].astype(np.float32).astype(np.float64)
    assert (band["count"], band["valid"]) == (EDGE * EDGE, seen.size)
    for name, expected in {
        "min": seen.min(), "max": seen.max(), "mean": seen.mean(), "sd": seen.std(),
    }.items():  # fmt: skip
        assert band[name] == pytest.approx(expected, rel=1e-6)
    for at, value in band["percentiles"].items():
        assert value == pytest.approx(np.percentile(seen, float(at)), rel=1e-6)
    counts, edges = np.histogram(seen, len(band["histogram"]["counts"]))
    np.testing.assert_allclose(band["histogram"]["edges"], edges, rtol=1e-6)
    assert sum(band["histogram"]["counts"]) == seen.size
    assert np.abs(np.array(band["histogram"]["counts"]) - counts).sum() < seen.size / 100


def test_few_whole_numbers_have_a_bin_each(images: Layer) -> None:
    box = {"bounds": [LEFT + 500, TOP - 900, LEFT + 600, TOP - 500], "crs": UTM}

    found = answer(images, "statistics", {**box, "width": 10, "height": 40})

    assert isinstance(found, dict)
    values, counts = np.unique(red(2019)[50:90, 50:60], return_counts=True)
    histogram = found["bands"][0]["histogram"]
    np.testing.assert_array_equal(histogram["edges"], [*(values - 0.5), values[-1] + 0.5])
    np.testing.assert_array_equal(histogram["counts"], counts)


def test_statistics_are_computed_at_most_at_512_pixels_and_say_so(ndvi: Layer) -> None:
    found = answer(ndvi, "statistics", {**WHOLE, "width": 3000, "height": 1500})

    assert isinstance(found, dict)
    assert (found["width"], found["height"]) == (512, 256)
    assert found["resolution"] == pytest.approx(math.sqrt(3000 / 512 * 3000 / 256))


def test_a_view_beside_the_layer_has_no_numbers(ndvi: Layer) -> None:
    beside = {"bounds": [0, 0, 1000, 1000], "crs": UTM, "width": 10, "height": 10}

    found = answer(ndvi, "statistics", beside)

    assert isinstance(found, dict)
    band = found["bands"][0]
    assert (band["count"], band["valid"], band["mean"]) == (100, 0, None)
    assert band["histogram"] == {"edges": [], "counts": []}


def test_values_are_those_of_the_file_under_the_place(images: Layer, workspace: Workspace) -> None:
    row, column = 123, 222
    lon, lat = DEGREES.transform(LEFT + (column + 0.4) * PIXEL, TOP - (row + 0.6) * PIXEL)

    found = answer(images, "values", {"lon": lon, "lat": lat, "dates": "all"})

    assert isinstance(found, dict)
    assert (found["row"], found["column"], found["crs"]) == (row, column, UTM)
    for told, date in zip(found["dates"], DATES, strict=True):
        path = workspace.home / "images" / f"scene_{date.replace('-', '')}.tif"
        with rasterio.open(path) as file:
            x, y = Transformer.from_crs("EPSG:4326", file.crs, always_xy=True).transform(lon, lat)
            (expected,) = file.sample([(x, y)])
        assert told["date"].startswith(date)
        assert [one["band"] for one in told["values"]] == ["red", "nir"]
        assert [one["value"] for one in told["values"]] == expected.tolist()


def test_values_are_of_the_date_that_is_shown_and_null_without_data(images: Layer) -> None:
    lon, lat = DEGREES.transform(LEFT + 5.5 * PIXEL, TOP - 5.5 * PIXEL)
    date = images.dates[0]

    found = answer(images, "values", {"lon": lon, "lat": lat, "look": {"time": date}})
    outside = answer(images, "values", {"lon": -60, "lat": -80})

    assert isinstance(found, dict)
    assert isinstance(outside, dict)
    nothing = [{"band": "red", "value": None}, {"band": "nir", "value": float(nir(2018)[5, 5])}]
    assert found["dates"] == [{"date": date, "values": nothing}]
    assert outside["dates"] == []
    assert outside["resolution"] == PIXEL


@pytest.mark.parametrize("statistic", ["mean", "min", "max"])
def test_a_profile_is_what_exactextract_finds_in_the_files(
    images: Layer, workspace: Workspace, statistic: str
) -> None:
    drawn = in_degrees(FIELD)

    found = answer(images, "profile", {"geometry": drawn, "statistic": statistic})

    assert isinstance(found, dict)
    assert found["resolution"] == PIXEL
    fields = gpd.GeoDataFrame(geometry=[shapely.geometry.shape(drawn)], crs=4326).to_crs(UTM)
    for row, date in zip(found["rows"], DATES, strict=True):
        path = workspace.home / "images" / f"scene_{date.replace('-', '')}.tif"
        theirs = exact_extract(str(path), fields, [statistic, "count"], output="pandas").iloc[0]
        assert row["date"].startswith(date)
        for number, band in enumerate(("red", "nir"), 1):
            expected = theirs[f"band_{number}_{statistic}"]
            assert row["values"][band] == pytest.approx(expected, rel=1e-6)
        assert row["count"] == pytest.approx(theirs["band_1_count"], rel=1e-6)
        assert row["valid"] == pytest.approx(row["count"] / found["count"], rel=1e-9)
    assert found["rows"][0]["valid"] < 1  # it reaches into the corner without data


def test_the_profile_of_a_point_is_its_pixel(ndvi: Layer) -> None:
    point = in_degrees(shapely.Point(150.3, 99.9))

    found = answer(ndvi, "profile", {"geometry": point})

    assert isinstance(found, dict)
    assert found["count"] == 1
    for row, date in zip(found["rows"], DATES, strict=True):
        assert row["values"][""] == pytest.approx(index(int(date[:4]))[99, 150], rel=1e-6)


def test_the_curve_through_a_profile_is_whittakers(ndvi: Layer) -> None:
    drawn = in_degrees(shapely.box(100, 100, 120, 130))
    smooth = {"method": "whittaker", "smoothness": 50.0, "every": 1}

    found = answer(ndvi, "profile", {"geometry": drawn, "smooth": smooth})

    assert isinstance(found, dict)
    days = np.array([np.datetime64(date) for date in DATES]).astype(int)
    size = days[-1] - days[0] + 1
    weights, values = np.zeros(size), np.zeros(size)
    weights[days - days[0]] = 1.0
    values[days - days[0]] = [row["values"][""] for row in found["rows"]]
    second = diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(size - 2, size))
    expected = spsolve((diags(weights) + 50.0 * second.T @ second + 0 * eye(size)).tocsc(), values)
    np.testing.assert_allclose(found["smoothed"]["values"][""], expected, rtol=1e-5)
    assert found["smoothed"]["dates"][0] == DATES[0]
    assert found["smoothed"]["dates"][-1] == DATES[-1]


def test_cloudy_dates_have_no_part_in_the_curve(images: Layer) -> None:
    drawn = in_degrees(FIELD)

    found = answer(images, "profile", {"geometry": drawn, "min_valid": 1.0, "smooth": {}})

    assert isinstance(found, dict)
    assert all(row["values"]["red"] is not None for row in found["rows"])
    assert set(found["smoothed"]["values"]["red"]) == {None}


@pytest.fixture(scope="module")
def winter(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An image in each of three months; weeks 3, 6 and 9, and the ten days 2, 4 and 7."""
    home, grid = tmp_path_factory.mktemp("winter"), Grid.of(UTM, LEFT, TOP, PIXEL, 20, 20)
    items = {}
    for number, date in enumerate(("2021-01-20", "2021-02-10", "2021-03-05")):
        pixels = np.full((20, 20), 10 * (number + 1), np.uint16)
        path = write_cog(home / f"{date}.tif", pixels, grid)
        asset = asset_of(path, (BandInfo("V", "uint16", 0.0),), grid)
        items[date] = (f"{date}T00:00:00Z", {"V": asset})
    return register(home, "winter", items, grid)


def by_period(workspace: Workspace, period: str) -> Layer:
    periods = node(
        "aggregate_temporal_period", True,
        data=ref("load"), period=period, reducer=callback("mean"),
    )  # fmt: skip
    graph = {"load": load(["V"], collection="winter"), "periods": periods}
    return open_layer(workspace, json.dumps(graph))


PARCEL = in_degrees(shapely.box(5, 5, 15, 15))


@pytest.mark.parametrize("period", ["week", "dekad", "season"])
def test_periods_that_are_no_instants_have_no_curve(winter: Workspace, period: str) -> None:
    layer = by_period(winter, period)

    found = answer(layer, "profile", {"geometry": PARCEL, "smooth": {}})

    assert isinstance(found, dict)
    seen = [row["values"]["V"] for row in found["rows"] if row["values"]["V"] is not None]
    assert seen == ([15.0, 30.0] if period == "season" else [10.0, 20.0, 30.0])
    assert found["smoothed"] == {"dates": [], "values": {"V": []}}
    with pytest.raises(NoDataAvailable, match="no days"):
        answer(layer, "profile", {"geometry": PARCEL, "dates": ["2021-02-01", "2021-10-01"]})


def test_months_have_a_curve_from_their_first_days(winter: Workspace) -> None:
    layer = by_period(winter, "month")
    asked = {"geometry": PARCEL, "dates": ["2021-02-01", None]}

    found = answer(layer, "profile", asked | {"smooth": {"every": 1}})

    assert isinstance(found, dict)
    assert [row["date"] for row in found["rows"]] == ["2021-02", "2021-03"]
    dates, values = found["smoothed"]["dates"], found["smoothed"]["values"]["V"]
    assert (dates[0], dates[-1], len(dates)) == ("2021-02-01", "2021-03-01", 29)
    assert (values[0], values[-1]) == pytest.approx((20.0, 30.0), rel=0.01)


def test_years_are_their_first_days(winter: Workspace) -> None:
    found = answer(by_period(winter, "year"), "profile", {"geometry": PARCEL, "smooth": {}})

    assert isinstance(found, dict)
    assert found["rows"][0]["values"] == {"V": 20.0}
    assert found["smoothed"]["dates"] == ["2021-01-01"]


def test_a_large_drawing_is_computed_at_larger_pixels_and_says_so(
    ndvi: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terrazzo.drivers.screen.profile.MOST_PIXELS", 10_000)
    drawn = in_degrees(shapely.box(50, 50, 250, 250))

    found = answer(ndvi, "profile", {"geometry": drawn})

    assert isinstance(found, dict)
    assert found["resolution"] == 4 * PIXEL
    assert found["count"] == pytest.approx(50 * 50, rel=1e-2)
    expected = np.nanmean(index(2019)[50:250, 50:250])
    assert found["rows"][-1]["values"][""] == pytest.approx(expected, rel=1e-2)


def test_a_transect_goes_along_the_geodesic_and_reads_the_pixels_under_it(ndvi: Layer) -> None:
    line = in_degrees(shapely.LineString([(50.5, 60.5), (200.2, 100.7), (210.1, 180.9)]))
    corners = np.array(line["coordinates"])

    found = answer(ndvi, "transect", {"geometry": line, "samples": 257})

    assert isinstance(found, dict)
    geod = Geod(ellps="WGS84")
    length = geod.line_length(corners[:, 0], corners[:, 1])
    np.testing.assert_allclose(found["distance"], np.linspace(0, length, 257), rtol=1e-9)
    steps = geod.inv(found["lon"][:-1], found["lat"][:-1], found["lon"][1:], found["lat"][1:])[2]
    assert np.median(steps) == pytest.approx(length / 256, rel=1e-6)
    assert found["resolution"] == PIXEL
    x, y = DEGREES.transform(found["lon"], found["lat"], direction="INVERSE")
    rows = np.floor((TOP - np.array(y)) / PIXEL).astype(int)
    columns = np.floor((np.array(x) - LEFT) / PIXEL).astype(int)
    expected = index(2019)[rows, columns]
    np.testing.assert_allclose(found["bands"][0]["values"], expected, rtol=1e-6)


def test_a_long_transect_reads_larger_pixels_and_says_so(ndvi: Layer) -> None:
    line = {"type": "LineString", "coordinates": [[20.9, 45.1], [21.2, 45.2]]}

    found = answer(ndvi, "transect", {"geometry": line, "samples": 100})

    assert isinstance(found, dict)
    assert found["resolution"] == 2 * PIXEL  # the coarsest level of so small a layer
    values = found["bands"][0]["values"]
    assert values[0] is None
    assert any(value is not None for value in values)


def test_whoever_waits_no_longer_stops_a_profile(ndvi: Layer) -> None:
    progress = Stoppable()
    progress.stopped = True

    with pytest.raises(Cancelled):
        answer(ndvi, "profile", {"geometry": in_degrees(FIELD)}, progress)


@pytest.mark.parametrize(
    ("method", "given", "wanted"),
    [
        ("statistics", {**WHOLE, "width": 10}, "`height` is missing"),
        ("statistics", {**WHOLE, "width": 10, "height": 0}, "whole number from 1"),
        ("statistics", {"bounds": [1, 2, 3], "width": 1, "height": 1}, "left, bottom, right, top"),
        ("values", {"lon": "x", "lat": 4}, "finite number"),
        ("values", {"lon": 1, "lat": 4, "date": "all"}, "Did you mean 'dates'"),
        ("profile", {}, "GeoJSON"),
        ("profile", {"geometry": {"type": "Point", "coordinates": ["a", 1]}}, "GeoJSON"),
        (
            "profile",
            {"geometry": {"type": "Point", "coordinates": [1, 1]}, "statistic": "meen"},
            "mean",
        ),
        ("transect", {"geometry": {"type": "Point", "coordinates": [1, 1]}}, "LineString"),
        ("statistic", {}, "Did you mean 'statistics'"),
        ("picture", {**WHOLE, "width": 4096, "height": 4096}, "may have 8,388,608"),
        ("tile", {"z": 3, "x": 0, "y": 0, "matrix": "mine"}, "native"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    ndvi: Layer, method: str, given: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ArgumentInvalid, match=wanted):
        answer(ndvi, method, given)


def test_a_band_that_is_not_there_is_told(images: Layer) -> None:
    with pytest.raises(BandNotFound, match="red, nir"):
        answer(images, "legend", {"look": {"bands": ["swir"]}})
