"""Image chips and profiles of a parcel: the same numbers and colours as everywhere else."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from PIL import Image
from tests.drivers.farm import (
    DATES,
    EDGE,
    FIELD,
    GRAPH,
    LEFT,
    PIXEL,
    TOP,
    field_box,
    make_farm,
    node,
    reflectances,
    write_image,
)

from terrazzo.drivers.extraction import parcel
from terrazzo.drivers.extraction.chips import Look, chips, found_stretch
from terrazzo.drivers.extraction.compared import Measure
from terrazzo.drivers.extraction.profiles import profile
from terrazzo.drivers.extraction.sheets import Wanted, calendar_sheet
from terrazzo.drivers.ingest import ingest
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import NATIVE, TileLayer, View, shown
from terrazzo.errors import ArgumentInvalid, BandNotFound, NoDataAvailable
from terrazzo.geo.times import parse_interval
from terrazzo.storage.writers.picture import Style, to_rgba

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.farm import Farm

CRS = "EPSG:32633"
STYLE = Style(((0.1, 0.6),), "rdylgn")


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Farm:
    return make_farm(tmp_path_factory.mktemp("farm"))


def drawn(farm: Farm, shape: Any, look: Look | None = None, graph: Any = None) -> Any:
    job = Job.of(graph or GRAPH)
    return chips(job, job.infer(farm.workspace), shape, CRS, look)


def test_a_chip_has_the_colours_of_the_tile(farm: Farm):
    layer = TileLayer(Job.of(GRAPH).infer(farm.workspace))
    tile = layer.cube(NATIVE, layer.matrix(NATIVE).base_zoom, 0, 0)
    view = View(STYLE)
    around, field = 3, field_box(6)

    made = drawn(farm, shapely.box(*field), Look(view, around=around / FIELD))

    row, col = round((TOP - field[3]) / PIXEL) - around, round((field[0] - LEFT) / PIXEL) - around
    here = np.s_[row : row + FIELD + 2 * around, col : col + FIELD + 2 * around]
    assert [chip.label[:10] for chip in made.chips] == list(DATES)
    for chip in made.chips:
        cube = shown(tile, replace(view, time=chip.label))
        expected = to_rgba(cube.values[None], cube.valid[None], STYLE)[here]
        np.testing.assert_array_equal(chip.rgba, expected)
        encoded = np.array(Image.open(io.BytesIO(chip.png)).convert("RGBA"))
        clear = expected[..., 3] == 0
        np.testing.assert_array_equal(encoded[~clear], expected[~clear])
        assert (encoded[clear, 3] == 0).all()


def test_the_outline_lies_on_the_edges_of_the_pixels_that_it_runs_along(farm: Farm):
    made = drawn(farm, shapely.box(*field_box(6)), Look(around=0.5))

    (line,) = made.outline
    low, high = 5.0, 5.0 + FIELD
    assert made.chips[0].rgba.shape[:2] == (20, 20)
    assert set(line) == {(low, low), (low, high), (high, low), (high, high)}


def test_outlines_have_holes_parts_and_lines(farm: Farm):
    left, _, _, top = field_box(6)
    holed = shapely.box(left, top - 100, left + 100, top) - shapely.box(
        left + 30, top - 60, left + 60, top - 30
    )
    line = shapely.LineString([(left + 120, top), (left + 180, top - 50)])

    made = drawn(farm, shapely.GeometryCollection([holed, line]))

    assert sorted(len(one) for one in made.outline) == [2, 5, 5]


def test_the_outline_of_a_point_is_the_pixel_that_holds_it(farm: Farm):
    made = drawn(farm, shapely.Point(LEFT + 304.0, TOP - 307.0))

    (line,) = made.outline
    x, y = zip(*line, strict=True)
    assert (min(x), max(x), min(y), max(y)) == (3, 4, 3, 4)
    assert made.chips[0].rgba.shape[:2] == (7, 7)


def test_a_large_parcel_is_drawn_more_coarsely_and_in_the_same_place(farm: Farm):
    whole = shapely.box(LEFT, TOP - EDGE * PIXEL, LEFT + EDGE * PIXEL, TOP)

    made = drawn(farm, whole, Look(View(STYLE), around=0.25, edge=30))

    assert made.chips[0].rgba.shape[:2] == (30, 30)
    assert made.pixel_metres == pytest.approx(1.5 * EDGE * PIXEL / 30)
    filled = made.chips[0].rgba[..., 3] > 0
    rows, cols = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    (line,) = made.outline
    x, y = np.array(line).T
    assert abs(rows[0] - y.min()) <= 1
    assert abs(rows[-1] + 1 - y.max()) <= 1
    assert abs(cols[0] - x.min()) <= 1
    assert abs(cols[-1] + 1 - x.max()) <= 1


@pytest.mark.parametrize("side", [-1, 1])
def test_a_parcel_across_the_antimeridian_is_drawn_where_most_of_it_is_seen(
    tmp_path: Path, side: int
):
    pixels = np.full((1, 40, 3600), 7, np.uint8)
    (tmp_path / "images").mkdir()
    with rasterio.open(
        tmp_path / "images" / "world_20240101.tif", "w", driver="GTiff", dtype="uint8", count=1,
        height=40, width=3600, crs="EPSG:4326", transform=rasterio.Affine(0.1, 0, -180, 0, -0.1, 2),
    ) as file:  # fmt: skip
        file.write(pixels)
    ingest([tmp_path / "images"], "world", Workspace.of(tmp_path / "home"))
    load = node("load_collection", id="world", spatial_extent=None, temporal_extent=None)
    job = Job.of({"load": load | {"result": True}})
    middle = 180.0 + 0.3 * side
    shape = shapely.box(middle - 0.5, 0, middle + 0.5, 1)

    made = chips(job, job.infer(Workspace.of(tmp_path / "home")), shape, "EPSG:4326")

    (chip,) = made.chips
    filled = (chip.rgba[..., 3] > 0).any(axis=0)
    x = np.array(made.outline[0])[:, 0]
    assert chip.rgba.shape[:2] == (16, 16)  # 10 pixels, and 3 around
    assert (x.min(), x.max()) == pytest.approx((3, 13))
    # 8 of its 10 columns and the 3 beside them are on this side.
    expected = np.arange(16) < 11 if side < 0 else np.arange(16) >= 5
    np.testing.assert_array_equal(filled, expected)


def test_another_node_and_other_bands_can_be_drawn(farm: Farm):
    look = Look(View(Style(((0, 4000),)), ("nir", "red", "red")), "load")

    made = drawn(farm, shapely.box(*field_box(6)), look)

    assert made.bands == ("nir", "red", "red")
    # Field 6 is wheat: 600 x 3 more near infrared than the soil on 2024-03-20, so more red.
    chip = made.chips[DATES.index("2024-04-04")].rgba
    middle = chip[chip.shape[0] // 2, chip.shape[1] // 2]
    assert middle[0] > middle[1]
    assert middle[1] == middle[2]


def test_a_band_that_is_not_there_is_an_error(farm: Farm):
    with pytest.raises(BandNotFound, match="blue"):
        drawn(farm, shapely.box(*field_box(6)), Look(View(Style(), ("blue",)), "load"))


def test_clouds_on_fewer_than_half_of_the_dates_do_not_move_the_stretch():
    rng = np.random.default_rng(5)
    clear = [rng.uniform(0.1, 0.5, (1, 20, 20)).astype(np.float32) for _ in range(5)]
    cloudy = [np.full((1, 20, 20), value, np.float32) for value in (0.8, 0.9, 1.0, 1.0)]
    seen = np.ones((1, 20, 20), np.bool_)

    ((low, high),) = found_stretch([(values, seen) for values in [*clear, *cloudy]])

    lows, highs = np.percentile([one.ravel() for one in clear], [2, 98], axis=1)
    assert low <= float(f"{lows.max():.3g}")
    assert high <= float(f"{highs.max():.3g}")


def test_only_the_dates_that_are_asked_for_are_drawn(farm: Farm):
    look = Look(dates=parse_interval("2024-03-05", "2024-04-04"))

    made = drawn(farm, shapely.box(*field_box(6)), look)

    assert [chip.label[:10] for chip in made.chips] == ["2024-03-05", "2024-03-20"]


def test_a_time_without_images_is_an_error_that_says_when_there_are_some(farm: Farm):
    with pytest.raises(NoDataAvailable, match=r"2023-11-20.*2024-09-01"):
        drawn(farm, shapely.box(*field_box(6)), Look(dates=parse_interval("2020", "2021")))


def test_a_graph_without_dates_gives_one_picture_and_no_profile(farm: Farm, tmp_path: Path):
    reducer = node("mean", data={"from_parameter": "data"}) | {"result": True}
    graph = {
        "load": GRAPH["load"],
        "ndvi": node("ndvi", data={"from_node": "load"}, nir="nir", red="red"),
        "mean": node(
            "reduce_dimension",
            data={"from_node": "ndvi"},
            dimension="t",
            reducer={"process_graph": {"mean": reducer}},
        )
        | {"result": True},
    }
    farm.extract(tmp_path / "out", graph)

    sheet = calendar_sheet(farm.workspace, tmp_path / "out", "f6")

    (chip,) = sheet.chips.chips
    assert chip.label == ""
    assert sheet.profile is not None
    assert sheet.profile.labels == ()
    assert Image.open(io.BytesIO(sheet.png(1))).width > 0


def test_a_parcel_beside_the_images_is_empty_and_no_error(farm: Farm):
    job = Job.of(GRAPH)
    far = shapely.box(LEFT + 2000, TOP - 300, LEFT + 2100, TOP - 200)

    made = drawn(farm, far)
    course = profile(job, job.infer(farm.workspace), far, CRS)

    assert all((chip.rgba[..., 3] == 0).all() for chip in made.chips)
    assert np.isnan(course.values).all()
    assert (course.shares == 0).all()


def test_an_empty_parcel_is_an_error(farm: Farm):
    with pytest.raises(ArgumentInvalid, match="no geometry"):
        drawn(farm, shapely.Polygon())


@pytest.mark.parametrize(
    "options",
    [{}, {"how": "centre"}, {"how": "touched", "buffer_m": -12.5}],
    ids=["exact", "centre", "buffer"],
)
@pytest.mark.parametrize("statistic", ["mean", "q90"])
def test_the_profile_is_what_the_table_has(
    farm: Farm, tmp_path: Path, options: dict[str, Any], statistic: str
):
    names = (statistic, "valid_share")
    folder = farm.extract(tmp_path / "out", statistics=names, **options)
    rows = pq.read_table(folder / "table", filters=[("id", "=", "f11")]).to_pylist()
    rows.sort(key=lambda row: row["t"])

    sheet = calendar_sheet(farm.workspace, folder, "f11", Wanted(measure=Measure(statistic)))

    assert sheet.profile is not None
    assert [row["t"].date().isoformat() for row in rows] == [
        label[:10] for label in sheet.profile.labels
    ]
    expected = [np.nan if row[statistic] is None else row[statistic] for row in rows]
    np.testing.assert_array_equal(sheet.profile.values, expected)
    np.testing.assert_array_equal(sheet.profile.shares, [row["valid_share"] for row in rows])


def test_an_image_that_came_after_the_extraction_is_drawn(tmp_path: Path):
    farm = make_farm(tmp_path)
    (tmp_path / "new").mkdir()
    before = calendar_sheet(farm.workspace, farm.extraction, "f6")
    write_image(tmp_path / "new", 8, "2024-09-20", reflectances(8))

    farm.take_in(tmp_path / "new")
    after = calendar_sheet(farm.workspace, farm.extraction, "f6")

    assert len(before.chips.chips) == len(DATES)
    assert [chip.label[:10] for chip in after.chips.chips] == [*DATES, "2024-09-20"]
    assert after.profile is not None
    assert np.isfinite(after.profile.values[-1])


def test_an_image_that_cannot_be_read_is_left_out_and_named(tmp_path: Path):
    farm = make_farm(tmp_path)
    (broken,) = tmp_path.rglob("*20240509*.tif")
    broken.write_bytes(broken.read_bytes()[:400])

    sheet = calendar_sheet(farm.workspace, farm.extraction, "f6")

    assert [name for name in sheet.chips.left_out if "20240509" in name]
    drawn_dates = {chip.label[:10] for chip in sheet.chips.chips if (chip.rgba[..., 3] > 0).any()}
    assert "2024-05-09" not in drawn_dates
    assert "2024-06-13" in drawn_dates


CUMULATED = {
    "load": GRAPH["load"],
    "ndvi": node("ndvi", data={"from_node": "load"}, nir="nir", red="red"),
    "cumulated": node(
        "apply_dimension",
        data={"from_node": "ndvi"},
        dimension="t",
        process={
            "process_graph": {
                "sum": node("cumsum", data={"from_parameter": "data"}) | {"result": True}
            }
        },
    )
    | {"result": True},
}


@pytest.mark.parametrize("graph", [GRAPH, CUMULATED], ids=["apart", "together"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_pictures_do_not_depend_on_how_many_dates_are_computed_together(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, graph: Any, at_once: int
):
    field, look = shapely.box(*field_box(6)), Look(View(STYLE), around=0.3)
    job = Job.of(graph)
    inference = job.infer(farm.workspace)
    whole, course = drawn(farm, field, look, graph), profile(job, inference, field, CRS)

    monkeypatch.setattr(parcel, "DATES_AT_ONCE", at_once)
    made, again = drawn(farm, field, look, graph), profile(job, inference, field, CRS)

    assert [chip.label for chip in made.chips] == [chip.label for chip in whole.chips]
    for chip, other in zip(made.chips, whole.chips, strict=True):
        np.testing.assert_array_equal(chip.rgba, other.rgba)
    assert again.labels == course.labels
    np.testing.assert_array_equal(again.values, course.values)


def test_dates_that_are_made_of_others_are_drawn_like_a_tile(farm: Farm):
    layer = TileLayer(Job.of(CUMULATED).infer(farm.workspace))
    tile = layer.cube(NATIVE, layer.matrix(NATIVE).base_zoom, 0, 0)
    field = field_box(6)

    made = drawn(farm, shapely.box(*field), Look(View(STYLE), around=0.3), CUMULATED)

    row, col = round((TOP - field[3]) / PIXEL) - 3, round((field[0] - LEFT) / PIXEL) - 3
    for chip in made.chips:
        cube = shown(tile, View(STYLE, time=chip.label))
        expected = to_rgba(cube.values[None], cube.valid[None], STYLE)
        np.testing.assert_array_equal(chip.rgba, expected[row : row + 16, col : col + 16])
