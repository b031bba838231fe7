"""The benchmarks run, compare what they time, and say so: nothing here depends on speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bench.data import Dataset, dataset
from bench.dataset import CRS, LEFT, PIXEL, TOP
from bench.graphs import CLEAR
from bench.landscape import Landscape
from bench.report import Row, Section, Table

from bench import composite, pixels, report, tile
from terrazzo.geo.grid import Grid, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

# rasterio 1.4 multiplies affine 3 matrices in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

ROOT = Path(__file__).parents[2]
SIZE, DATES = 1024, 3
TABLES = (
    "Three bands of one date, PNG",
    "NDVI, median of all dates, array",
    "First median tile of a new process",
    f"Masked NDVI median, {DATES} dates",
    "polygons x 3 images",
    "Pixels per pixel needed",
    "Imports in a new process",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(512, 1, folder=tmp_path_factory.mktemp("bench-data"))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def rows_of(page: str, title: str) -> list[list[str]]:
    """Return the cells of the table whose title ends so, without its head."""
    after = page.split(title + "\n\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in after.split("\n")][
        2:
    ]


@pytest.mark.slow
def test_a_quick_run_has_every_table_and_all_results_agree(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    arguments = [f"--size={SIZE}", f"--dates={DATES}", f"--data={tmp_path}", f"--out={out}"]

    done = bench("--quick", *arguments)

    # 0: all results agree (tile.ALIKE, tile.EXACT, composite.TOLERANCE, parcels.TOLERANCE) and at
    # most pixels.MOST pixels are requested for each one needed.
    assert done.returncode == 0, done.stderr
    page = out.read_text()
    for title in TABLES:
        assert rows_of(page, title), title
    assert "Results differ" not in page
    assert "Targets missed" not in page
    assert str(tmp_path) not in page


def test_an_unknown_benchmark_is_refused_with_the_names_there_are() -> None:
    done = bench("tiles")

    assert done.returncode == 2
    assert "composite" in done.stderr


def test_data_depends_on_the_seed_and_the_place_alone(small: Dataset, tmp_path: Path) -> None:
    again = dataset(512, 1, folder=tmp_path)

    day = small.days[0]
    for band in ("B03", "B04", "B08", "SCL"):
        assert again.asset(day, band).read_bytes() == small.asset(day, band).read_bytes()


def test_fields_do_not_overlap_and_have_the_size_of_fields() -> None:
    fields = Landscape(512, 1).fields

    hectares = np.array([field.area for field in fields]) / 1e4

    assert len(fields) > 300
    assert hectares.min() >= 0.5
    assert hectares.max() <= 10
    assert not any(a.overlaps(b) for a in fields[:40] for b in fields)


def test_tiles_that_differ_are_found_different() -> None:
    right = np.arange(16.0).reshape(4, 4)
    wrong = right + np.eye(4)
    holed = np.where(np.eye(4) > 0, np.nan, right)

    assert tile.likeness(right, right, 1e-6) == (1.0, 1.0)
    assert tile.likeness(right, wrong, 1e-6) == (1.0, 0.75)
    assert tile.likeness(right, holed, 1e-6) == (0.75, 1.0)


def test_composites_that_differ_are_found_different() -> None:
    right = np.array([0.1, 0.2, np.nan, 0.4], np.float32)

    assert composite.alike(right, right) == 1
    assert composite.alike(right, np.nan_to_num(right)) == 0.75
    assert composite.alike(right, right + 1e-4) == 0.25


def test_the_hand_tuned_peer_computes_the_median_of_clear_pixels() -> None:
    from bench.contestants.odc_composite import clear_median  # noqa: PLC0415 - imports Dask

    rng = np.random.default_rng(3)
    red, nir = rng.integers(1001, 4000, (2, 5, 20, 30)).astype(np.uint16)
    classes = rng.integers(0, 12, (5, 20, 30)).astype(np.uint8)
    low, high = red.astype("f4"), nir.astype("f4")
    red[2, :3], nir[2, :3] = 0, 0
    index = (high - low) / (high + low - 2000)
    index[2, :3] = np.nan
    index[~np.isin(classes, CLEAR)] = np.nan

    found = clear_median(red, nir, classes)

    some = np.isfinite(index).any(0)
    np.testing.assert_array_equal(np.isfinite(found), some)
    np.testing.assert_allclose(found[some], np.nanmedian(index[:, some], 0), rtol=1e-5)


@pytest.mark.parametrize(
    ("grid_pixel", "edge", "expected"),
    [
        (10.0, 256, 256 * 256),  # the files' own grid: each pixel once
        (20.0, 256, 256 * 256),  # an overview has exactly these pixels
        (5.0, 256, 128 * 128),  # finer than the files: fewer pixels than the screen has
        (30.0, 100, 150 * 150),  # the overview of 20 m is just finer
    ],
)
def test_needed_pixels_are_those_of_the_overview_just_finer(
    grid_pixel: float, edge: int, expected: int
) -> None:
    count = round(4096 * PIXEL / grid_pixel)
    grid = Grid(CRS, LEFT, TOP, grid_pixel, grid_pixel, count, count)

    assert pixels.needed_pixels(grid, Window(0, 0, edge, edge), 4096) == expected


def test_the_report_says_where_we_are_slower_or_different(small: Dataset) -> None:
    rows: Sequence[Row] = (Row("Terrazzo", ("2.0",), ratio=2.0), Row("peer", ("1.0",)))
    table = Table("A thing", ("CPU s",), list(rows), ["not the same"], ["too many pixels"])

    page = report.page([Section("a", "A", "b", "c", [table])], small, "python -m bench", 1)

    assert "- A thing: Terrazzo: 2.00 x the CPU time" in page
    assert "- not the same" in page
    assert "- too many pixels" in page
