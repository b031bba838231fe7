"""Extraction given again: what is done is done, and what was asked wrongly does no harm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from tests.drivers.scenes import asset_of, callback, job_of, load, node, ref, register, write_cog

from terrazzo.catalog import BandInfo
from terrazzo.drivers.extract import extract, outlook
from terrazzo.drivers.extraction.samples import Sampling
from terrazzo.drivers.extraction.scenes import states
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.drivers.job import Job, Workspace

DAYS = ("2024-05-01", "2024-05-11", "2024-06-11")
LEFT, TOP, EDGE = 500_000.0, 5_000_000.0, 64
GRID = Grid.of("EPSG:32633", LEFT, TOP, 10.0, EDGE, EDGE)
FAR = replace(GRID, left=LEFT + 50_000)


def images(folder: Path, collection: str, days: Sequence[str], grid: Grid = GRID) -> Workspace:
    """Make a collection with an image of the value 1 per day."""
    items = {}
    for day in days:
        path = folder / f"assets/{collection}_{day}.tif"
        write_cog(path, np.ones((EDGE, EDGE), np.uint16), grid, nodata=9)
        asset = asset_of(path, (BandInfo("B", "uint16", 9),), grid)
        items[f"{collection}_{day}"] = (f"{day}T00:00:00Z", {"B": asset})
    return register(folder, collection, items, grid)


def write(path: Path, **columns: Any) -> Path:
    """Write two squares of four pixels each."""
    squares = [shapely.box(x, TOP - 60, x + 20, TOP - 40) for x in (LEFT + 40, LEFT + 90)]
    gpd.GeoDataFrame(columns, geometry=squares, crs=32633).to_parquet(path)
    return path


def loading(collection: str = "c", *, skip_bad: bool = False) -> Job:
    return job_of(
        {"load": {**load(["B"], collection=collection), "result": True}}, skip_bad=skip_bad
    )


def masked() -> Job:
    """Return the images of c where those of m are 0."""
    return job_of(
        {
            "data": load(["B"], collection="c"),
            "clouds": load(["B"], collection="m"),
            "mask": node("mask", True, data=ref("data"), mask=ref("clouds")),
        }
    )


def monthly() -> Job:
    """Return the mean of every month."""
    return job_of(
        {
            "load": load(["B"], collection="c"),
            "months": node(
                "aggregate_temporal_period",
                True,
                data=ref("load"),
                period="month",
                reducer=callback("mean"),
            ),
        }
    )


def test_images_without_rows_are_done_once(tmp_path: Path) -> None:
    images(tmp_path / "home", "c", DAYS[:1])
    workspace = images(tmp_path / "home", "c", DAYS[1:], FAR)
    polygons, out = write(tmp_path / "f.parquet"), tmp_path / "out"
    asked: dict[str, Any] = {"by": "image", "block": 256}

    first = extract(loading(), workspace, polygons, out, **asked)
    again = extract(loading(), workspace, polygons, out, **asked)
    told = outlook(loading(), workspace, polygons, out, **asked)

    assert sorted(one.made.rows for one in states(out)) == [0, 0, 2]
    assert (first.resumed, again.resumed, again.rows) == (0, 3, 2)
    assert (told.scenes, told.todo) == (3, 0)
    assert {one.attempts for one in states(out)} == {1}
    next(out.rglob("date=*/*.parquet")).unlink()
    assert outlook(loading(), workspace, polygons, out, **asked).todo == 1


def test_a_mistyped_option_does_not_decide_what_a_folder_holds(tmp_path: Path) -> None:
    workspace = images(tmp_path / "home", "c", DAYS)
    polygons, out = write(tmp_path / "f.parquet", name=["a", "b"]), tmp_path / "out"

    with pytest.raises(ArgumentInvalid, match="Did you mean 'name'"):
        extract(loading(), workspace, polygons, out, id_column="nam", block=256)
    made = extract(loading(), workspace, polygons, out, id_column="name", block=256)

    assert made.rows == 2 * len(DAYS)


def test_bad_images_may_be_left_out_afterwards_and_be_wanted_again(tmp_path: Path) -> None:
    workspace = images(tmp_path / "home", "c", DAYS)
    polygons, out = write(tmp_path / "f.parquet"), tmp_path / "out"
    damaged = tmp_path / f"home/assets/c_{DAYS[1]}.tif"
    whole = damaged.rename(tmp_path / "aside.tif")

    with pytest.raises(RunIncomplete, match="--skip-bad"):
        extract(loading(), workspace, polygons, out, block=256)
    without = extract(loading(skip_bad=True), workspace, polygons, out, block=256)
    same = extract(loading(skip_bad=True), workspace, polygons, out, block=256)
    with pytest.raises(RunIncomplete, match="1 of 3 scenes failed"):
        extract(loading(), workspace, polygons, out, block=256)
    whole.rename(damaged)
    mended = extract(loading(), workspace, polygons, out, block=256)

    assert (without.skipped, without.resumed) == ((f"c_{DAYS[1]}",), 2)
    assert (same.skipped, same.resumed) == (without.skipped, 3)
    assert (mended.skipped, mended.resumed, mended.rows) == ((), 2, 6)


def test_by_image_only_those_with_a_new_mask_are_computed_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    polygons, out = write(tmp_path / "f.parquet"), tmp_path / "out"
    images(home, "c", DAYS[:2])
    workspace = images(home, "m", DAYS[:2])
    asked: dict[str, Any] = {"by": "image", "block": 256}
    extract(masked(), workspace, polygons, out, **asked)
    images(home, "c", DAYS)
    images(home, "m", DAYS)

    made = extract(masked(), workspace, polygons, out, **asked)
    write_cog(home / f"assets/m_{DAYS[1]}.tif", np.zeros((EDGE, EDGE), np.uint16), GRID, nodata=9)
    changed = extract(masked(), workspace, polygons, out, **asked)

    assert (made.scenes, changed.resumed) == (3, 2)
    counts = pq.read_table(changed.table).to_pandas().groupby("date", observed=True)["count"].sum()
    assert counts.tolist() == [0, 8, 0]


def test_an_image_has_its_own_date_where_the_result_has_periods(tmp_path: Path) -> None:
    workspace = images(tmp_path / "home", "c", DAYS)
    polygons = write(tmp_path / "f.parquet")

    made = extract(monthly(), workspace, polygons, tmp_path / "out", by="image", block=256)

    times = pq.read_table(made.table).to_pandas().sort_values(["t", "id"])["t"]
    assert times.tolist() == [pd.Timestamp(day, tz="UTC") for day in DAYS for _ in range(2)]


def test_files_of_users_in_the_table_stay_and_parts_of_nobody_go(tmp_path: Path) -> None:
    workspace = images(tmp_path / "home", "c", DAYS)
    polygons, out = write(tmp_path / "f.parquet"), tmp_path / "out"
    extract(loading(), workspace, polygons, out, block=256)
    mine = [out / "table/notes.txt", out / f"table/date={DAYS[0]}/map.qgz"]
    for path in mine:
        path.write_text("mine")
    left = out / f"table/date={DAYS[0]}/left.parquet"
    left.write_bytes(b"of a killed run")

    made = extract(loading(), workspace, polygons, out, block=256)

    assert made.resumed == len(DAYS)
    assert [path.read_text() for path in mine] == ["mine", "mine"]
    assert not left.exists()


def test_pixels_may_be_drawn_per_value_of_the_ids(tmp_path: Path) -> None:
    workspace = images(tmp_path / "home", "c", DAYS[:1])
    polygons = write(tmp_path / "f.parquet", name=["b", "a"])

    made = extract(
        loading(), workspace, polygons, tmp_path / "out", id_column="name",
        sampling=Sampling(3, "name"), block=256,
    )  # fmt: skip

    rows = pq.read_table(made.table).to_pandas()
    assert rows["name"].tolist() == rows["id"].tolist() == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize("metres", [np.inf, -np.inf, np.nan])
def test_a_buffer_must_be_finite(tmp_path: Path, metres: float) -> None:
    workspace = images(tmp_path / "home", "c", DAYS[:1])
    polygons = write(tmp_path / "f.parquet")

    with pytest.raises(ArgumentInvalid, match="finite number"):
        extract(loading(), workspace, polygons, tmp_path / "out", buffer_m=metres, block=256)


def test_a_folder_is_no_file_of_polygons(tmp_path: Path) -> None:
    workspace = images(tmp_path / "home", "c", DAYS[:1])
    (tmp_path / "fields").mkdir()

    with pytest.raises(ArgumentInvalid, match="'fields' is no file of polygons"):
        extract(loading(), workspace, tmp_path / "fields", tmp_path / "out", block=256)
