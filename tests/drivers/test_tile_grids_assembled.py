"""One file of many tiles: as if it had been written at once, pixels and overviews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from click.testing import CliRunner
from rio_cogeo import cog_validate
from tests.drivers.scenes import composite, job_of, smoothed
from tests.drivers.test_tile_grids import OWN, at, on_grid, read

from terrazzo.cli import main
from terrazzo.drivers import batch
from terrazzo.geo.grid import Grid
from terrazzo.storage.writers import joined
from terrazzo.storage.writers.joined import join
from terrazzo.storage.writers.mosaic import Frame, Look, Piece, write_vrt

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tests.drivers.scenes import Scenes

LEFT, TOP, PIXEL = 500_000.0, 5_000_000.0, 10.0
INNER = 64


def copied(raw: Path, path: Path, how: str, compression: str) -> Path:
    """Write a COG as GDAL does it."""
    rasterio.shutil.copy(
        raw, path, driver="COG", COMPRESS=compression, PREDICTOR="YES", BLOCKSIZE=INNER,
        OVERVIEW_RESAMPLING=how.upper(),
    )  # fmt: skip
    return path


def profile_of(pixels: NDArray[Any], left: float, top: float, nodata: float) -> dict[str, Any]:
    count, height, width = pixels.shape
    return {
        "driver": "GTiff", "dtype": pixels.dtype, "count": count, "height": height, "width": width,
        "crs": "EPSG:32633", "transform": rasterio.Affine(PIXEL, 0, left, 0, -PIXEL, top),
        "nodata": nodata,
    }  # fmt: skip


def cut(
    folder: Path, pixels: NDArray[Any], edge: int, holes: set[tuple[int, int]], **how: Any
) -> tuple[list[Piece], Path]:
    """Write tiles and, beside them, all of it at once; tiles in holes are not there."""
    nodata = float("nan") if pixels.dtype.kind == "f" else 0
    pieces = []
    raw = folder / "raw.tif"
    for row in range(pixels.shape[1] // edge):
        for col in range(pixels.shape[2] // edge):
            at = np.s_[:, row * edge : (row + 1) * edge, col * edge : (col + 1) * edge]
            if (row, col) in holes:
                pixels[at] = nodata
                continue
            grid = Grid.of(32633, LEFT + col * edge * PIXEL, TOP - row * edge * PIXEL, PIXEL, edge,
                           edge)  # fmt: skip
            with rasterio.open(
                raw, "w", **profile_of(pixels[at], grid.left, grid.top, nodata)
            ) as f:
                f.write(pixels[at])
                f.update_tags(made="by a test")
            path = copied(raw, folder / f"{row}_{col}.tif", **how)
            pieces.append(Piece(path, grid, f"{row}_{col}"))
    with rasterio.open(raw, "w", **profile_of(pixels, LEFT, TOP, nodata)) as file:
        file.write(pixels)
    return pieces, copied(raw, folder / "whole.tif", **how)


def hills(count: int, height: int, width: int, dtype: str) -> NDArray[Any]:
    rows, cols = np.mgrid[0:height, 0:width]
    planes = [np.sin(rows / 31 + n) * np.cos(cols / 23 - n) * 90 + 110 for n in range(count)]
    pixels = np.stack(planes).astype(dtype)
    pixels[:, 20:50, 30:300] = np.nan if pixels.dtype.kind == "f" else 0
    return pixels


def faults(path: Path) -> list[str]:
    """Return what is wrong with a COG, but for overviews as wide as one internal tile.

    Those are taken for untiled ones, also where GDAL has written them.
    """
    return [error for error in cog_validate(path)[1] if "is not tiled" not in error]


def same_levels(one: Path, other: Path) -> int:
    """Check that two files have the same pixels at all levels; return how many levels."""
    with rasterio.open(one) as file, rasterio.open(other) as beside:
        assert file.overviews(1) == beside.overviews(1)
        assert (file.crs, file.transform, file.bounds) == (beside.crs, beside.transform,
                                                           beside.bounds)  # fmt: skip
        assert str(file.profile) == str(beside.profile)  # NaN is not itself
        np.testing.assert_array_equal(file.read(), beside.read())
        count = len(file.overviews(1))
    for level in range(count):
        with (
            rasterio.open(one, OVERVIEW_LEVEL=level) as file,
            rasterio.open(other, OVERVIEW_LEVEL=level) as beside,
        ):
            np.testing.assert_array_equal(file.read(), beside.read())
    return count + 1


@pytest.mark.parametrize(
    ("edge", "dtype", "count", "how", "compression", "holes"),
    [
        (4 * INNER, "float32", 1, "average", "DEFLATE", {(1, 1)}),
        (INNER, "uint16", 3, "nearest", "DEFLATE", set()),
        (3 * INNER, "int16", 1, "average", "LZW", {(0, 0), (2, 1)}),
        (8 * INNER, "uint8", 2, "nearest", "ZSTD", {(0, 0)}),
        (2 * INNER, "float64", 1, "average", "NONE", set()),
    ],
)
@pytest.mark.parametrize("big", [False, True])
def test_joined_tiles_are_what_gdal_would_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: int, dtype: str, count: int, how: str,
    compression: str, holes: set[tuple[int, int]], *, big: bool,
):  # fmt: skip
    if big:
        monkeypatch.setattr(joined, "_MOST_CLASSIC", 0)
    pixels = hills(count, 3 * edge, 2 * edge, dtype)
    pieces, whole = cut(tmp_path, pixels, edge, holes, how=how, compression=compression)

    assert join(tmp_path / "joined.tif", pieces, overviews=how)

    made = tmp_path / "joined.tif"
    assert same_levels(made, whole) >= 2
    assert made.read_bytes()[2] == (43 if big else 42)
    with rasterio.open(made) as file, rasterio.open(whole) as beside:
        assert file.tags()["made"] == "by a test"
        assert file.tags(ns="IMAGE_STRUCTURE") == beside.tags(ns="IMAGE_STRUCTURE")
    assert faults(made) == []
    assert not list(tmp_path.glob(".*"))


def test_full_resolution_is_copied_and_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pixels = hills(1, 12 * INNER, 8 * INNER, "float32")
    pieces, whole = cut(
        tmp_path, pixels, 4 * INNER, set(), how="average", compression="DEFLATE"
    )  # fmt: skip
    decoded = []
    written = joined._write_above

    def watched(path: Path, tiles: Any, places: Any, level: int, overviews: str) -> None:
        decoded.append(level)
        written(path, tiles, places, level, overviews)

    monkeypatch.setattr(joined, "_write_above", watched)

    join(tmp_path / "joined.tif", pieces, overviews="average")

    assert decoded == [2]
    assert same_levels(tmp_path / "joined.tif", whole) == 5


@pytest.mark.parametrize("fault", ["overlapping", "between", "uneven"])
def test_tiles_that_do_not_lie_side_by_side_are_not_joined(tmp_path: Path, fault: str):
    edge = 100 if fault == "uneven" else INNER
    pieces, _ = cut(
        tmp_path, hills(1, 2 * edge, 2 * edge, "uint8"), edge, set(), how="nearest",
        compression="DEFLATE",
    )  # fmt: skip
    first = pieces[0].grid
    step = {"overlapping": 0.0, "between": PIXEL * edge / 2, "uneven": 0.0}[fault]
    if fault != "uneven":
        moved = Grid.of(32633, first.left + step, first.top, PIXEL, edge, edge)
        pieces[1] = Piece(pieces[1].path, moved, "other")

    assert not join(tmp_path / "joined.tif", pieces, overviews="nearest")

    assert not (tmp_path / "joined.tif").exists()


@pytest.mark.parametrize(("edge", "graph"), [(512, composite), (256, smoothed)])
def test_an_assembled_file_has_the_pixels_of_a_plain_run(
    scenes: Scenes, tmp_path: Path, edge: int, graph: Any
):
    text = f"EPSG:32633,598000,5101000,{edge},10"

    made = on_grid(scenes, tmp_path / "tiles", graph(), text, assemble=True)

    plain = batch.run(job_of(graph()), scenes.workspace, tmp_path / "plain", block=100)
    files = [one for one in made.assets if one.path.parent.name == "assembled"]
    assert len(files) == len(plain.assets)
    for one, other in zip(files, plain.assets, strict=True):
        pixels, bounds = read(one.path)
        assert one.path.name == f"EPSG32633_{other.path.name}"
        np.testing.assert_array_equal(pixels, at(other.path, bounds))
        assert faults(one.path) == []
    told = json.loads((tmp_path / "tiles" / "stac" / "collection.json").read_text())
    for one in files:
        asset = told["assets"][one.path.name]
        assert asset["proj:code"] == "EPSG:32633"
        assert asset["file:size"] == one.path.stat().st_size


def test_overviews_of_an_assembled_file_are_those_of_the_vrt(scenes: Scenes, tmp_path: Path):
    made = on_grid(
        scenes, tmp_path, composite(), "EPSG:32633,598000,5101000,512,10", assemble=True
    )  # fmt: skip

    files = [one for one in made.assets if one.path.parent.name == "assembled"]
    for one in files:
        vrt = tmp_path / "tiles" / f"{one.path.stem}.vrt"
        rasterio.shutil.copy(
            vrt, tmp_path / "copy.tif", driver="COG", COMPRESS="DEFLATE", PREDICTOR="YES",
            OVERVIEW_RESAMPLING="AVERAGE",
        )  # fmt: skip
        assert same_levels(one.path, tmp_path / "copy.tif") >= 2
        with rasterio.open(one.path) as file:
            assert file.tags()["terrazzo_graph_digest"]


def test_tiles_that_overlap_are_assembled_too(scenes: Scenes, tmp_path: Path):
    made = on_grid(scenes, tmp_path, composite(), "mgrs", assemble=True)

    files = [one.path for one in made.assets if one.path.parent.name == "assembled"]
    assert [path.name for path in files] == ["EPSG32633_result_2020.tif",
                                             "EPSG32633_result_2021.tif"]  # fmt: skip
    for path in files:
        (tile,) = tmp_path.glob(f"tiles/*/{path.name.removeprefix('EPSG32633_')}")
        np.testing.assert_array_equal(read(path)[0], read(tile)[0])
        assert cog_validate(path, strict=True) == (True, [], [])


def test_what_a_killed_run_had_begun_is_taken_away(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path, smoothed(), OWN, assemble=True)
    begun = [
        tmp_path / "tiles" / ".EPSG32633_result.vrt.0123abcd.part.vrt",
        *(
            tmp_path / "assembled" / f".EPSG32633_result.tif.0123abcd.part{end}"
            for end in (".tif", ".above.tif", ".above.raw.tif")
        ),
    ]
    for path in begun:
        path.write_bytes(b"begun")

    on_grid(scenes, tmp_path, smoothed(), OWN, assemble=True)

    assert not [path for path in begun if path.exists()]
    assert not list(tmp_path.rglob("*.part*"))


def test_the_command_line_cuts_and_assembles(scenes: Scenes, tmp_path: Path):
    graph = tmp_path / "graph.json"
    graph.write_text(job_of(composite()).document)
    home = ["--home", str(scenes.workspace.home), "run", str(graph)]
    tiled = ["--tiles", "EPSG:32633,598000,5101000,512,10"]

    told = CliRunner().invoke(main, [*home, "-o", str(tmp_path / "out"), *tiled, "--assemble"])

    assert told.exit_code == 0, told.output
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert all(Path(line["path"]).is_file() for line in lines)
    assert {Path(line["path"]).parent.name for line in lines} >= {"assembled", "E000S001"}
    for wrong in (["--assemble"], ["--tiles", "mgrs:5"]):
        refused = CliRunner().invoke(main, [*home, "-o", str(tmp_path / "no"), *wrong])
        assert refused.exit_code == 2


def test_a_frame_holds_all_tiles(tmp_path: Path):
    pixels = hills(1, 2 * INNER, 3 * INNER, "uint8")
    pieces, _ = cut(tmp_path, pixels, INNER, {(0, 0)}, how="nearest", compression="DEFLATE")

    frame = Frame.of(pieces).grid

    assert frame == Grid.of(32633, LEFT, TOP, PIXEL, 2 * INNER, 3 * INNER)
    vrt = write_vrt(tmp_path / "all.vrt", pieces, Look.of(pieces[0].path))
    np.testing.assert_array_equal(read(vrt)[0], pixels)
