"""What a later ingestion leaves of an earlier one, and what one bad file leaves of the others."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine
from shapely.geometry import shape

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.ingestion import raster
from terrazzo.drivers.ingestion.items import footprint
from terrazzo.drivers.ingestion.kept import apart
from terrazzo.drivers.job import Workspace
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Bounds, Grid
from terrazzo.storage.vectors.stored import _ends

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.ingest import IngestReport

RED, NIR = "S2A_20240515_B04.tif", "S2A_20240515_B08.tif"
COPY = IngestOptions(copy=True)


def tif(path: Path, *, left: float = 500_000.0, crs: str = "EPSG:32633", value: int = 7) -> Path:
    """Write an image of 8 x 8 pixels of 10 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(10.0, 0.0, left, 0.0, -10.0, 5_000_000.0)
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint16", crs=crs,
        transform=place,
    ) as file:  # fmt: skip
        file.write(np.full((1, 8, 8), value, "uint16"))
    return path


def cube(path: Path, day: str, *, name: str = "rain", value: float = 0.0) -> Path:
    """Write a cube of one date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((1, 4, 4), value, "float32")
    axes = {
        "time": np.array([day], "datetime64[ns]"),
        "lat": ("lat", 50.0 - np.arange(4), {"units": "degrees_north"}),
        "lon": ("lon", 10.0 + np.arange(4), {"units": "degrees_east"}),
    }
    data = xr.Dataset({name: (("time", "lat", "lon"), values)}, coords=axes)
    data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(tmp_path / "home")


def take(workspace: Workspace, *paths: Path, **options: Any) -> IngestReport:
    chosen = IngestOptions(crs="EPSG:4326", **options)
    return ingest(list(paths), "c", workspace, options=chosen)


def items_of(workspace: Workspace) -> list[dict[str, Any]]:
    with workspace.catalog() as catalog:
        return list(catalog.search(("c",)))


def counts(report: IngestReport) -> tuple[int, int, int]:
    return report.made, report.kept, len(report.failed)


@pytest.mark.parametrize("copy", [False, True])
def test_bands_of_another_folder_join_the_item_that_is_there(
    tmp_path: Path, workspace: Workspace, copy: bool
) -> None:
    tif(tmp_path / "one" / RED)
    tif(tmp_path / "two" / NIR, left=500_040.0)

    first = take(workspace, tmp_path / "one", copy=copy)
    second = take(workspace, tmp_path / "two", copy=copy)
    again = [take(workspace, tmp_path / name, copy=copy) for name in ("one", "two")]

    (item,) = items_of(workspace)
    together = Grid.of("EPSG:32633", 500_000.0, 5_000_000.0, 10.0, 8, 12)
    assert [counts(one) for one in (first, second)] == [(1, 0, 0), (1, 0, 0)]
    assert [counts(one) for one in again] == [(0, 1, 0), (0, 1, 0)]
    assert sorted(item["assets"]) == ["B04", "B08"]
    assert item["bbox"] == pytest.approx(footprint([together])[0], abs=1e-6)
    assert shape(item["geometry"]).bounds == pytest.approx(item["bbox"], abs=1e-6)
    assert "B04 is kept" in second.notes[NIR][-1]


def test_cubes_of_one_name_in_two_folders_join(tmp_path: Path, workspace: Workspace) -> None:
    cube(tmp_path / "era" / "t2m" / "2020-01.nc", "2020-01-01", name="t2m", value=280.5)
    cube(tmp_path / "era" / "tp" / "2020-01.nc", "2020-01-01", name="tp", value=0.5)

    reports = [take(workspace, tmp_path / "era" / name) for name in ("t2m", "tp", "t2m")]
    whole = take(workspace, tmp_path / "era")

    (item,) = items_of(workspace)
    assert [counts(one) for one in reports] == [(1, 0, 0), (1, 0, 0), (0, 1, 0)]
    assert sorted(item["assets"]) == ["t2m", "tp"]
    assert counts(whole) == (0, 1, 1)


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_is_damaged_later_takes_nothing_away(
    tmp_path: Path, workspace: Workspace, copy: bool
) -> None:
    tif(tmp_path / "in" / RED)
    tif(tmp_path / "in" / NIR)
    take(workspace, tmp_path / "in", copy=copy)
    (before,) = items_of(workspace)
    os.truncate(tmp_path / "in" / RED, 100)

    report = take(workspace, tmp_path / "in", copy=copy)

    assert counts(report) == (0, 1, 1)
    assert items_of(workspace) == [before]
    assert "B04 is kept" in report.notes[NIR][-1]


def test_bands_that_are_renamed_do_not_stay_under_their_old_names(
    tmp_path: Path, workspace: Workspace
) -> None:
    cube(tmp_path / "in" / "2020-01.nc", "2020-01-01", value=0.5)
    take(workspace, tmp_path / "in")

    report = take(workspace, tmp_path / "in", bands=("water",))

    (item,) = items_of(workspace)
    assert counts(report) == (1, 0, 0)
    assert list(item["assets"]) == ["water"]


@pytest.mark.parametrize("copy", [False, True])
def test_another_file_of_the_same_band_replaces_nothing_while_the_first_is_there(
    tmp_path: Path, workspace: Workspace, copy: bool
) -> None:
    tif(tmp_path / "one" / RED, value=1)
    tif(tmp_path / "two" / RED, value=2)
    take(workspace, tmp_path / "one", copy=copy)
    before = items_of(workspace)

    with pytest.raises(ArgumentInvalid, match=r"B04 already, made of .*one.*--pattern"):
        take(workspace, tmp_path / "two", copy=copy)

    assert items_of(workspace) == before
    shutil.rmtree(tmp_path / "one")
    assert counts(take(workspace, tmp_path / "two", copy=copy)) == (1, 0, 0)


def test_copies_of_a_folder_that_was_moved_are_kept(tmp_path: Path, workspace: Workspace) -> None:
    tif(tmp_path / "one" / RED)
    take(workspace, tmp_path / "one", copy=True)
    (tmp_path / "one").rename(tmp_path / "two")

    report = take(workspace, tmp_path / "two", copy=True)

    assert counts(report) == (0, 1, 0)


def test_a_fault_of_ours_leaves_out_one_file_only(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tif(tmp_path / "in" / RED)
    tif(tmp_path / "in" / "S2A_20240516_B04.tif")
    honest = raster._in_place

    def faulty(file: raster.RasterFile) -> dict[str, Any]:
        if "20240515" in file.shown:
            raise OverflowError("date value out of range")
        return honest(file)

    monkeypatch.setattr(raster, "_in_place", faulty)

    report = take(workspace, tmp_path / "in")

    reason = "this is a fault of Terrazzo (OverflowError: date value out of range)"
    assert (report.made, report.failed) == (1, {RED: reason})


@pytest.mark.parametrize("together", [True, False])
def test_images_of_two_places_are_not_one_item(
    tmp_path: Path, workspace: Workspace, together: bool
) -> None:
    tif(tmp_path / "in" / "T32" / "20240515_B04.tif", crs="EPSG:32632")
    tif(tmp_path / "in" / "T33" / "20240515_B08.tif", crs="EPSG:32633")

    if together:
        reason = take(workspace, tmp_path / "in").failed["T33/20240515_B08.tif"]
    else:
        take(workspace, tmp_path / "in" / "T32")
        with pytest.raises(ArgumentInvalid) as refused:
            take(workspace, tmp_path / "in" / "T33")
        reason = str(refused.value)

    (item,) = items_of(workspace)
    assert list(item["assets"]) == ["B04"]
    assert "same place. Tell the items apart with --pattern" in reason


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((10, 0, 20, 5), (15, 1, 30, 9), False),
        ((10, 0, 20, 5), (21, 1, 30, 9), True),
        ((10, 0, 20, 5), (15, 6, 30, 9), True),
        ((170, 0, -170, 5), (-175, 1, -160, 9), False),
        ((-175, 0, -160, 5), (170, 1, -170, 9), False),
        ((170, 0, -170, 5), (-165, 1, 165, 9), True),
        ((-180, -90, 180, 90), (3, 1, 4, 9), False),
    ],
)
def test_boxes_are_apart_on_a_round_earth(one: Bounds, other: Bounds, expected: bool) -> None:
    assert apart(one, other) is expected
    assert apart(other, one) is expected


def test_footprint_across_the_antimeridian_holds_every_grid() -> None:
    west = Grid.of("EPSG:4326", 177.0, -16.0, 0.1, 10, 20)  # 177..179
    across = Grid.of("EPSG:4326", 179.0, -16.0, 0.1, 10, 20)  # 179..181
    beyond = Grid.of("EPSG:4326", -179.0, -16.0, 0.1, 10, 20)  # -179..-177
    round_it = Grid.of("EPSG:4326", -180.0, -16.0, 1.0, 2, 359)  # -180..179

    box = footprint([west, across, beyond])[0]
    whole = footprint([across, round_it])[0]

    assert box == pytest.approx((177.0, -17.0, -177.0, -16.0))
    assert whole[::2] == (-180.0, 180.0)


def test_a_date_that_means_until_now_ends_with_the_calendar() -> None:
    texts = pa.array(["2018-05-01", "9999-12-31"])
    days = pa.array([date(2018, 5, 1), date(9999, 12, 31)])

    ends = [_ends(column, "until") for column in (texts, days)]

    last = datetime.max.replace(tzinfo=UTC)
    assert ends == [[datetime(2018, 5, 1, tzinfo=UTC), last]] * 2


def test_a_day_without_rain_has_the_type_of_the_others(
    tmp_path: Path, workspace: Workspace
) -> None:
    for day, value in (("01", 0.0), ("02", 1.5), ("03", 2.25)):
        cube(tmp_path / "in" / f"rain-{day}.nc", f"2020-01-{day}", value=value)

    first, second = take(workspace, tmp_path / "in"), take(workspace, tmp_path / "in")

    types = [item["assets"]["rain"]["bands"][0]["data_type"] for item in items_of(workspace)]
    assert types == ["float32"] * 3
    assert [counts(one) for one in (first, second)] == [(3, 0, 0), (0, 3, 0)]
