"""Extraction: scenes by date and by image, what is new and what has changed, odd polygons."""

from __future__ import annotations

import json
import multiprocessing
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from exactextract import exact_extract
from tests.drivers.scenes import (
    COLLECTION,
    CRS,
    DATES,
    GRAPHS,
    LEFT,
    TOP,
    asset_of,
    callback,
    cloudless_ndvi,
    job_of,
    load,
    make_scenes,
    node,
    ref,
    register,
    write_cog,
)
from typing_extensions import override

from terrazzo.catalog import BandInfo
from terrazzo.drivers.extract import extract, outlook
from terrazzo.drivers.extraction.record import recorded_job
from terrazzo.drivers.extraction.scenes import scene_table, states
from terrazzo.drivers.pool import Pool
from terrazzo.errors import ArgumentInvalid, RunDiffers, RunIncomplete, SpatialExtentEmpty
from terrazzo.geo.grid import Grid
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.job import Job, Workspace

B04 = {"load": {**load(["B04"]), "result": True}}
"""One band as it is."""


def write(path: Path, shapes: list[Any], crs: str = CRS, **columns: Any) -> Path:
    """Write geometries and attributes as GeoJSON or GeoParquet."""
    frame = gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


def field(row: float, col: float, edge: float = 30.0) -> shapely.Polygon:
    """Return a square of `edge` pixels, turned a little, with its corner at a row and column."""
    left, top = LEFT + 10 * col, TOP - 10 * row
    return shapely.affinity.rotate(shapely.box(left, top - 10 * edge, left + 10 * edge, top), 17)


def rows_of(table: Path) -> pd.DataFrame:
    frame = pq.read_table(table).to_pandas()
    return frame.sort_values(["date", "id"] if "date" in frame else ["id"]).reset_index(drop=True)


def bytes_of(table: Path) -> dict[str, bytes]:
    return {
        path.relative_to(table).as_posix(): path.read_bytes() for path in table.rglob("*.parquet")
    }


def temperature(file: Path, polygons: Path) -> pd.DataFrame:
    """Return what exactextract has of a file."""
    frame = gpd.read_file(polygons)
    return exact_extract(str(file), frame, ["mean", "count", "stdev"], output="pandas")


def test_every_date_has_the_numbers_of_exactextract_on_its_own_file(
    scenes: Scenes, tmp_path: Path
) -> None:
    polygons = write(tmp_path / "fields.gpkg", [field(40, 60), field(250, 250), field(400, 10)])

    made = extract(
        job_of(B04), scenes.workspace, polygons, tmp_path / "out",
        statistics=("mean", "count", "sd"), block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    assert made.scenes == len(DATES)
    assert made.rows == len(rows) == 3 * len(DATES)
    for date in DATES:
        there = rows[rows["date"] == date]
        expected = temperature(scenes.file(date, "B04"), polygons)
        above = 1000 * (date == DATES[-1])
        assert there["item"].map(list).tolist() == [[f"S2_{date}"]] * 3
        np.testing.assert_allclose(there["mean"] + above, expected["mean"], rtol=1e-6)
        np.testing.assert_allclose(there["count"], expected["count"], rtol=1e-6)
        np.testing.assert_allclose(there["sd"], expected["stdev"], rtol=1e-5)


def zones(home: Path) -> tuple[Workspace, dict[str, Path]]:
    """Make a collection of one day with an image in each of two UTM zones, which overlap."""
    files, items = {}, {}
    for zone, left in ((32, 690_000.0), (33, 230_000.0)):
        grid = Grid.of(32600 + zone, left, 5_000_000.0, 10.0, 300, 400)
        pixels = np.random.default_rng(zone).integers(1, 9000, (300, 400)).astype(np.uint16)
        files[f"T{zone}"] = write_cog(home / "assets" / f"T{zone}.tif", pixels, grid)
        asset = asset_of(files[f"T{zone}"], (BandInfo("B", "uint16", 0.0),), grid)
        items[f"T{zone}"] = (f"2024-05-15T10:{zone}:00Z", {"B": asset})
    whole = Grid.of(4326, 8.0, 48.0, 0.1, 40, 80)
    return register(home, "zones", items, whole), files


def test_every_image_is_extracted_on_its_own_grid(tmp_path: Path) -> None:
    workspace, files = zones(tmp_path / "home")
    spots = [shapely.Point(692_000, 4_998_500), shapely.Point(231_500, 4_998_000)]
    fields = [
        gpd.GeoSeries([spot.buffer(217)], crs=32600 + zone).to_crs(4326)[0]
        for spot, zone in zip(spots, (32, 33), strict=True)
    ]
    polygons = write(tmp_path / "fields.gpkg", fields, "EPSG:4326", name=["west", "east"])
    job = job_of({"load": {**load(["B"], collection="zones"), "result": True}})

    made = extract(
        job, workspace, polygons, tmp_path / "out", statistics=("mean", "count"), by="image",
        id_column="name", block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    assert made.scenes == 2
    expected = []
    for name, path in files.items():
        there = gpd.read_file(polygons).to_crs(32600 + int(name[1:]))
        found = exact_extract(str(path), there, ["mean", "count"], output="pandas")
        found["item"], found["id"] = name, there["name"]
        expected += found[found["count"] > 0].to_dict("records")
    assert len(rows) == len(expected) >= 2
    for one in expected:
        mine = rows[(rows["id"] == one["id"]) & (rows["item"].str[0] == one["item"])]
        assert mine["mean"].item() == pytest.approx(one["mean"], rel=1e-6)
        assert mine["count"].item() == pytest.approx(one["count"], rel=1e-6)


@pytest.mark.parametrize("by", ["date", "image"])
def test_threads_and_processes_write_the_same_bytes(
    scenes: Scenes, tmp_path: Path, by: str
) -> None:
    polygons = write(tmp_path / "fields.parquet", [field(40, 60), field(250, 250)])
    job = job_of({**cloudless_ndvi(), "ndvi": {**cloudless_ndvi()["ndvi"], "result": True}})

    tables = [
        extract(
            job, scenes.workspace, polygons, tmp_path / f"{kind}{workers}", by=by, block=256,
            statistics=("mean", "median", "count"), pool=Pool(kind, workers),
        ).table
        for kind, workers in (("threads", 1), ("threads", 3), ("processes", 1 + (by == "image")))
    ]  # fmt: skip

    first, *others = map(bytes_of, tables)
    assert len(first) == len(DATES)
    assert others == [first, first]


def test_only_new_images_are_computed_and_those_that_are_gone_are_dropped(
    tmp_path: Path,
) -> None:
    polygons = write(tmp_path / "fields.parquet", [field(40, 60), field(250, 250)])
    out, job = tmp_path / "out", job_of(B04)

    def run(count: int) -> tuple[int, int, list[str]]:
        made = extract(job, workspace(count), polygons, out, statistics=("mean",), block=256)
        dates = sorted(path.parent.name for path in made.table.rglob("*.parquet"))
        return made.scenes, made.resumed, dates

    home = make_scenes(tmp_path / "home")

    def workspace(count: int) -> Workspace:
        with home.workspace.catalog() as catalog:
            gone = [f"S2_{date}" for date in DATES[count:]]
            kept = {str(item["id"]): item for item in items}
            catalog.delete_items(COLLECTION, gone)
            catalog.put_items([kept[f"S2_{date}"] for date in DATES[:count]])
        return home.workspace

    with home.workspace.catalog() as catalog:
        items = list(catalog.search((COLLECTION,)))

    folders = [f"date={date}" for date in DATES]
    assert run(2) == (2, 0, folders[:2])
    before = bytes_of(out / "table")
    assert run(4) == (4, 2, folders)
    assert before.items() <= bytes_of(out / "table").items()
    assert run(3) == (3, 3, folders[:3])
    assert run(3) == (3, 3, folders[:3])


def test_changed_images_are_computed_again(own_scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "fields.parquet", [field(250, 250)])
    job, out = job_of(B04), tmp_path / "out"
    extract(job, own_scenes.workspace, polygons, out, statistics=("mean",), block=256)
    before = rows_of(out / "table")
    pixels = np.full((600, 700), 7, np.uint16)
    grid = Grid.of(CRS, LEFT, TOP, 10.0, 600, 700)
    write_cog(own_scenes.file(DATES[1], "B04"), pixels, grid)

    made = extract(job, own_scenes.workspace, polygons, out, statistics=("mean",), block=256)

    rows = rows_of(made.table)
    assert (made.scenes, made.resumed) == (4, 3)
    assert rows["mean"][1] == pytest.approx(7)
    others = [0, 2, 3]
    np.testing.assert_array_equal(rows["mean"][others], before["mean"][others])


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_scene_that_fails_stops_no_other_and_is_done_when_it_is_mended(
    own_scenes: Scenes, tmp_path: Path, kind: str
) -> None:
    polygons = write(tmp_path / "fields.parquet", [field(40, 60), field(250, 250)])
    out, pool, damaged = tmp_path / "out", Pool(kind, 1), own_scenes.file(DATES[1], "B04")
    aside = damaged.rename(tmp_path / "aside.tif")

    def run() -> Any:
        return extract(
            job_of(B04), own_scenes.workspace, polygons, out, statistics=("mean",), block=256,
            pool=pool,
        )  # fmt: skip

    with pytest.raises(RunIncomplete, match=r"1 of 4 scenes failed \(20200701T103000\)") as told:
        run()
    kept = {one.t[:10]: one for one in states(out)}
    aside.rename(damaged)
    made = run()

    assert "S2_2020-07-01" in str(told.value)
    assert [kept[date].state for date in DATES] == ["done", "failed", "done", "done"]
    assert "S2_2020-07-01" in kept[DATES[1]].error
    assert made.resumed == 3
    assert len(rows_of(made.table)) == 2 * len(DATES)
    assert [one.attempts for one in states(out)] == [1, 2, 1, 1]


def test_dates_that_need_each_other_are_extracted_at_once(scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "fields.parquet", [field(250, 250)])
    loaded = load(["B04"])
    running = node(
        "apply_dimension", True, data=ref("load"), dimension="t", process=callback("cummax")
    )
    latest = node(
        "reduce_dimension", True, data=ref("load"), dimension="t", reducer=callback("max")
    )

    series, top, years = (
        extract(
            job_of(nodes), scenes.workspace, polygons, tmp_path / name, statistics=("max",),
            block=256,
        )
        for name, nodes in (
            ("series", {"load": loaded, "running": running}),
            ("top", {"load": loaded, "latest": latest}),
            ("years", GRAPHS["composite"]),
        )
    )  # fmt: skip

    assert (series.scenes, top.scenes, years.scenes) == (1, 1, 2)
    rows = pq.read_table(series.table).to_pandas()
    assert rows["t"].dt.strftime("%Y-%m-%d").tolist() == list(DATES)
    assert rows["max"].is_monotonic_increasing
    assert [*bytes_of(series.table)] == [*bytes_of(top.table)] == ["all.parquet"]
    (last,) = pq.read_table(top.table).to_pylist()
    assert (last["max"], last["item"], "t" in last) == (rows["max"].iloc[-1], None, False)
    assert pq.read_table(years.table).column("t").to_pylist() == ["2020", "2021"]


def test_odd_polygons_are_extracted_and_reported(scenes: Scenes, tmp_path: Path) -> None:
    x, y = LEFT + 3000, TOP - 3000
    bow = shapely.Polygon([(x, y), (x + 100, y + 100), (x + 100, y), (x, y + 100)])
    hole = shapely.box(x, y, x + 90, y + 90).difference(shapely.box(x + 20, y + 20, x + 60, y + 60))
    square = shapely.box(x, y, x + 30, y + 30)
    shapes = {
        "bow": bow,
        "hole": hole,
        "two": shapely.union(square, shapely.box(x + 90, y, x + 99, y + 9)),
        "tiny": shapely.box(x + 1, y + 1, x + 3, y + 2),
        "none": None,
        "empty": shapely.Polygon(),
        "far": shapely.box(0, 0, 10, 10),
        "mixed": shapely.GeometryCollection([shapely.Point(x, y), square]),
        "edge": shapely.box(LEFT - 50, TOP - 2600, LEFT + 50, TOP - 2500),
        "across": shapely.box(LEFT + 2550, TOP - 2570, LEFT + 2570, TOP - 2550),
    }  # fmt: skip
    names = list(shapes)
    polygons = write(tmp_path / "odd.parquet", list(shapes.values()), name=names, id=range(10))

    made = extract(
        job_of(B04), scenes.workspace, polygons, tmp_path / "out", statistics=("count",),
        id_column="name", block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    count = rows[rows["date"] == DATES[1]].set_index("id")["count"]
    areas = {"bow": 50, "hole": 65, "two": 9.81, "tiny": 0.02, "mixed": 9, "edge": 50, "across": 4}
    assert made.polygons == 10
    assert set(made.outside) == {"none", "empty", "far"}
    assert made.repaired == ("bow",)
    assert count.to_dict() == pytest.approx(areas)
    kept = gpd.read_parquet(made.polygons_file)
    assert kept["id"].tolist() == names
    assert kept["id_"].tolist() == list(range(10))
    assert kept["repaired"].tolist() == [name == "bow" for name in names]
    assert kept.geometry.dropna().is_valid.all()


def test_polygons_across_the_antimeridian_are_found_on_both_sides(tmp_path: Path) -> None:
    pixels = np.arange(1, 3601, dtype=np.uint16).reshape(1, 3600).repeat(20, 0)
    degrees = Grid.of(4326, -180.0, 1.0, 0.1, 20, 3600)
    path = write_cog(tmp_path / "home/assets/world.tif", pixels, degrees)
    world = asset_of(path, (BandInfo("B", "uint16", 0.0),), degrees)
    utm = Grid.of(32660, 800_000.0, 60_000.0, 1000.0, 120, 80)  # 180 degrees is at x = 833 979
    pixels = np.ones((120, 80), np.uint16)
    east = asset_of(
        write_cog(tmp_path / "home/assets/east.tif", pixels, utm),
        (BandInfo("B", "uint16", 0.0),),
        utm,
    )
    items = {
        "world": ("2024-01-01T00:00:00Z", {"B": world}),
        "east": ("2024-02-01T00:00:00Z", {"B": east}),
    }
    workspace = register(tmp_path / "home", "c", items, degrees, bbox=(-180, -1, 180, 1))
    split = shapely.MultiPolygon(
        [shapely.box(179.8, 0, 180, 0.2), shapely.box(-180, 0, -179.8, 0.2)]
    )
    beyond = shapely.box(179.8, 0, 180.2, 0.2)
    polygons = write(tmp_path / "f.parquet", [split, beyond], "EPSG:4326")
    job = job_of({"load": {**load(["B"], collection="c"), "result": True}})

    made = extract(
        job, workspace, polygons, tmp_path / "out", statistics=("count", "valid_share", "mean"),
        by="image", block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    assert made.outside == ()
    assert rows["valid_share"].tolist() == [1.0] * 4
    world_rows, east_rows = rows[rows["date"] == "2024-01-01"], rows[rows["date"] == "2024-02-01"]
    assert world_rows["count"].tolist() == pytest.approx([8, 8])
    # Columns 3598 and 3599 lie west of the antimeridian, 0 and 1 east of it.
    assert world_rows["mean"].tolist() == pytest.approx([(3599 + 3600 + 1 + 2) / 4] * 2)
    square_km = gpd.GeoSeries([beyond], crs=4326).to_crs(32660).area[0] / 1e6
    assert east_rows["count"].tolist() == pytest.approx([square_km] * 2, rel=1e-3)


def test_an_inner_buffer_is_in_metres_whatever_the_crs(scenes: Scenes, tmp_path: Path) -> None:
    plain = shapely.box(LEFT + 1000, TOP - 2000, LEFT + 1200, TOP - 1800)
    narrow = shapely.box(LEFT + 3000, TOP - 2000, LEFT + 3015, TOP - 1800)
    frame = gpd.GeoDataFrame(geometry=[plain, narrow], crs=CRS).to_crs(4326)
    polygons = write(tmp_path / "f.parquet", list(frame.geometry), "EPSG:4326")

    made = extract(
        job_of(B04), scenes.workspace, polygons, tmp_path / "out", statistics=("count",),
        buffer_m=-10, block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    assert made.outside == (1,)
    assert rows["id"].unique().tolist() == [0]
    np.testing.assert_allclose(rows["count"], 18 * 18, rtol=1e-4)
    kept = gpd.read_parquet(made.polygons_file).to_crs(CRS)
    np.testing.assert_allclose(kept.area, [plain.area, narrow.area], rtol=1e-6)


def test_what_decides_the_numbers_must_stay_the_same_in_a_folder(
    scenes: Scenes, tmp_path: Path
) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60)], name=["a"])
    other = write(tmp_path / "g.parquet", [field(50, 60)], name=["a"])
    out = tmp_path / "out"

    def run(job: Job | None = None, path: Path = polygons, **options: Any) -> Any:
        asked = {"statistics": ("mean",), "block": 256, **options}
        return extract(job or job_of(B04), scenes.workspace, path, out, **asked)

    assert run().resumed == 0
    for options, named in (
        ({"statistics": ("max",)}, "statistics"),
        ({"by": "image"}, "by"),
        ({"buffer_m": -5.0}, "buffer_m"),
        ({"path": other}, "checksum"),
        ({"id_column": "name"}, "id"),
        ({"job": job_of({"load": {**load(["B08"]), "result": True}})}, "document"),
    ):
        with pytest.raises(RunDiffers, match=named):
            run(**options)
    assert run(block=512).resumed == 4
    assert recorded_job(out) == job_of(B04)


def test_a_graph_may_move_on_to_another_period(scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60)])

    def run(start: str, end: str) -> Any:
        loaded = load(["B04"], temporal_extent=[start, end])
        job = job_of({"load": {**loaded, "result": True}})
        return extract(job, scenes.workspace, polygons, tmp_path / "out", block=256)

    first = run("2020-01-01", "2020-08-01")
    second = run("2020-06-01", "2021-01-01")

    assert (first.scenes, first.resumed, second.scenes, second.resumed) == (2, 0, 2, 1)
    assert sorted(rows_of(second.table)["date"]) == [DATES[1], DATES[2]]


def test_two_extractions_never_work_in_one_folder_at_once(scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60)])
    (tmp_path / "out").mkdir()

    with scene_table(tmp_path / "out"), pytest.raises(ArgumentInvalid, match="Another extraction"):
        extract(job_of(B04), scenes.workspace, polygons, tmp_path / "out", block=256)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id_column": "nome"}, r"no attribute 'nome'. Did you mean 'name'"),
        ({"id_column": "same"}, "does not tell the features apart: 1 values"),
        ({"id_column": "gaps"}, "1 features .* have no 'gaps'"),
        ({"block": 100}, "multiple of 256"),
        ({"by": "month"}, "date or image"),
        ({"how": "half"}, "exact, centre, touched"),
        ({"statistics": ("average",)}, "Unknown statistics"),
    ],
)
def test_bad_input_is_refused_before_a_pixel_is_read(
    scenes: Scenes, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    polygons = write(
        tmp_path / "f.parquet", [field(40, 60), field(1, 1)], name=["a", "b"], same=["x", "x"],
        gaps=["a", None],
    )  # fmt: skip

    with pytest.raises(ArgumentInvalid, match=words):
        extract(
            job_of(B04), scenes.workspace, polygons, tmp_path / "out", **{"block": 256, **options}
        )

    assert not list(tmp_path.glob("out/table/**/*.parquet"))


def test_polygons_that_lie_elsewhere_are_an_error_that_says_so(
    scenes: Scenes, tmp_path: Path
) -> None:
    polygons = write(tmp_path / "f.parquet", [shapely.box(0, 0, 10, 10)])

    with pytest.raises(SpatialExtentEmpty, match=r"None of the 1 polygons of f\.parquet"):
        extract(job_of(B04), scenes.workspace, polygons, tmp_path / "out", block=256)


def test_images_that_cannot_be_read_may_be_left_out(own_scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "f.parquet", [field(250, 250)])
    own_scenes.file(DATES[1], "B04").unlink()
    job = job_of({"load": {**load(["B04"]), "result": True}}, skip_bad=True)

    made = extract(
        job, own_scenes.workspace, polygons, tmp_path / "out", statistics=("count", "mean"),
        block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    assert made.skipped == (f"S2_{DATES[1]}",)
    assert [one.made.skipped for one in states(tmp_path / "out")] == [(), made.skipped, (), ()]
    assert rows["count"].map(bool).tolist() == [True, False, True, True]


def test_points_have_the_squares_of_pixels_around_them(scenes: Scenes, tmp_path: Path) -> None:
    spots = [(100, 200), (256, 255), (599, 0)]
    points = [shapely.Point(LEFT + 10 * col + 5, TOP - 10 * row - 5) for row, col in spots]
    polygons = write(tmp_path / "f.parquet", points)

    made = extract(
        job_of(B04), scenes.workspace, polygons, tmp_path / "out", statistics=("count", "sum"),
        around=3, block=256,
    )  # fmt: skip

    rows = rows_of(made.table)
    values, valid = scenes.stack("B04")  # noqa: PD013 - ours, not that of pandas
    for number, date in enumerate(DATES):
        there = rows[rows["date"] == date]
        for (row, col), count, total in zip(spots, there["count"], there["sum"], strict=True):
            around = np.s_[number, max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
            assert count == valid[around].sum()
            assert total == pytest.approx(values[around][valid[around]].sum())


class StopsLate(Progress):
    """Stops a run when two thirds of its cells are computed."""

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.unit == "blocks" and 3 * self.done > 2 * self.total:
            raise Cancelled


def test_a_stopped_extraction_goes_on_and_ends_in_the_same_bytes(
    scenes: Scenes, tmp_path: Path
) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60), field(250, 250), field(500, 500)])

    def run(folder: str, progress: Progress | None = None) -> Any:
        return extract(
            job_of(B04), scenes.workspace, polygons, tmp_path / folder, block=256,
            pool=Pool(workers=1), progress=progress,
        )  # fmt: skip

    calm = run("calm")
    with pytest.raises(Cancelled):
        run("stopped", StopsLate())
    waiting = [one.state for one in states(tmp_path / "stopped")]
    again = run("stopped")

    assert "done" in waiting
    assert "running" not in waiting
    assert again.resumed == waiting.count("done")
    assert bytes_of(again.table) == bytes_of(calm.table)
    assert not (tmp_path / "stopped" / ".parts").exists()


def test_a_dry_run_tells_what_there_is_to_do_and_writes_nothing(
    scenes: Scenes, tmp_path: Path
) -> None:
    x, y = LEFT + 2560, TOP - 2560
    shapes = [shapely.box(x - 50, y - 50, x + 50, y + 50), shapely.box(0, 0, 1, 1)]
    polygons = write(tmp_path / "f.parquet", shapes)
    out, pool = tmp_path / "out", Pool(workers=1)
    asked: dict[str, Any] = {"statistics": ("mean",), "block": 256, "pool": pool}

    told = outlook(job_of(B04), scenes.workspace, polygons, out, **asked)
    before = out.exists()
    extract(job_of(B04), scenes.workspace, polygons, out, **asked)
    done = outlook(job_of(B04), scenes.workspace, polygons, out, **asked)

    assert not before
    assert (told.scenes, told.todo, told.polygons, told.inside) == (4, 4, 2, 1)
    assert told.cells == 4 * 4  # the polygon lies where four cells meet
    assert told.pixels == 100
    assert told.read_pixels == 4 * 100
    assert (done.todo, done.cells, done.read_pixels, done.states) == (0, 0, 0, {"done": 4})
    assert told.memory_bytes == done.memory_bytes < pool.memory_bytes
    assert "4 (dates), 4 to do" in told.text()


def test_memory_does_not_grow_with_the_number_of_images(scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60), field(250, 250)])

    needs = [
        outlook(
            job_of({"load": {**load(["B04"], temporal_extent=period), "result": True}}),
            scenes.workspace, polygons, tmp_path / "out", block=256,
        ).memory_bytes
        for period in (["2021-01-01", "2022-01-01"], None)
    ]  # fmt: skip

    assert needs[0] == needs[1]


def test_an_extraction_is_told_in_stac_beside_its_table(scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60)])

    made = extract(job_of(B04), scenes.workspace, polygons, tmp_path / "out", block=256)

    collection = json.loads((tmp_path / "out/stac/collection.json").read_text())
    hrefs = [link["href"] for link in collection["links"] if link["rel"] == "item"]
    items = [json.loads((tmp_path / "out/stac" / href).read_text()) for href in hrefs]
    files = {
        asset["href"].removeprefix("../") for item in items for asset in item["assets"].values()
    }
    assert files == {"polygons.parquet", *(f"table/{name}" for name in bytes_of(made.table))}


def test_a_stage_below_the_result_is_settled_for_all_dates_or_for_each_image(
    scenes: Scenes, tmp_path: Path
) -> None:
    spread = shapely.box(LEFT, TOP - 6000, LEFT + 7000, TOP)
    polygons = write(tmp_path / "f.parquet", [spread])
    nodes = {
        "load": load(["B08"]),
        "mean": node("reduce_spatial", data=ref("load"), reducer=callback("mean")),
        "above": node(
            "merge_cubes", True, cube1=ref("load"), cube2=ref("mean"),
            overlap_resolver=callback(
                "subtract", x={"from_parameter": "x"}, y={"from_parameter": "y"}
            ),
        ),
    }  # fmt: skip

    tables = [
        extract(
            job_of(nodes), scenes.workspace, polygons, tmp_path / f"{by}{kind}", block=512,
            statistics=("mean", "count"), by=by, pool=Pool(kind, 1),
        ).table
        for by, kind in (("date", "threads"), ("image", "threads"), ("date", "processes"))
    ]  # fmt: skip

    for table in tables:
        rows = rows_of(table)
        assert len(rows) == len(DATES)
        np.testing.assert_allclose(rows["mean"], 0, atol=0.05)
        assert (rows["count"] > 400_000).all()


def test_a_worker_process_that_is_killed_costs_no_scene(scenes: Scenes, tmp_path: Path) -> None:
    polygons = write(tmp_path / "f.parquet", [field(40, 60), field(250, 250)])
    killed: list[int | None] = []

    class Kills(Progress):
        """Kills the worker when the first scene is done."""

        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.unit == "blocks" and not killed:
                for worker in multiprocessing.active_children():
                    worker.kill()
                    killed.append(worker.pid)

    def run(kind: str, progress: Progress) -> dict[str, bytes]:
        made = extract(
            job_of(B04), scenes.workspace, polygons, tmp_path / kind, statistics=("mean",),
            block=256, pool=Pool(kind, 1), progress=progress,
        )  # fmt: skip
        return bytes_of(made.table)

    assert run("processes", Kills()) == run("threads", Progress())
    assert killed
    assert {one.state for one in states(tmp_path / "processes")} == {"done"}
