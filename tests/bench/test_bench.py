"""The benchmarks run, compare what they time, and say so: nothing here depends on speed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bench.__main__ import BENCHMARKS, main
from bench.contestants import rasterio_cubes, terrazzo_graphs
from bench.contestants.cubes import blocks
from bench.data import Dataset, dataset
from bench.dataset import CRS, LEFT, PIXEL, TOP
from bench.graphs import CLEAR
from bench.landscape import Landscape
from bench.measure import Contestant, race
from bench.operations import COARSE, KERNEL
from bench.report import Picture, Row, Section, Table, Target

from bench import comparison, links, pixels, plots, report, tile
from terrazzo.geo.grid import Grid, Window
from terrazzo.spans import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.options import Options

# rasterio 1.4 multiplies affine 3 matrices in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

ROOT = Path(__file__).parents[2]
SIZE, DATES = 1024, 3
PARTS = (
    "composite", "kernel", "parcels", "callbacks", "udf", "pixels", "planning", "scaling", "cores",
    "import",
)  # fmt: skip
"""What is run here."""
TABLES = (
    f"Masked NDVI median, {DATES} dates",
    f"5 x 5 kernel, {DATES} dates",
    "87 parcels x 3 images",
    "870 parcels x 3 images",
    "where our time goes",
    f"images in one run, {len(os.sched_getaffinity(0))} threads",
    "(1 M parcels x 1,000 images)",
    "Callbacks, 10 dates of 256 x 256 pixels",
    "Blocks of 4 x 512 x 512 float32",
    "Warm map tiles with code of users",
    "Pixels per pixel needed",
    "Before the first pixel",
    "Dates, window of 1024 pixels",
    "Bands, window of 1024 pixels",
    "### Window",
    "Block, window of 1024 pixels",
    "One worker and two, window of 1024 pixels",
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

    done = bench("--quick", *PARTS, *arguments)

    # 0: all results agree (tile.ALIKE, tile.EXACT, Rival.tolerance, parcels.TOLERANCE) and the
    # targets that depend on no machine are met, such as pixels.MOST.
    assert done.returncode == 0, done.stderr
    page = out.read_text()
    for title in TABLES:
        assert rows_of(page, title), title
    assert "Results differ" not in page
    pictures = re.findall(r"\]\(images/bench-(\w+)\.svg\)", page)
    # The plot of all peers is of a run of everything.
    assert pictures == ["dates", "bands", "window", "block", "cores"]
    for picture in pictures:
        assert (tmp_path / "images" / f"bench-{picture}.svg").read_text().endswith("</svg>\n")
    assert str(tmp_path) not in page


def test_the_others_are_run_by_continuous_integration() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    (names,) = re.findall(r'make bench ARGS="--quick ([a-z ]+)"', script)

    assert {*names.split(), *PARTS} == set(BENCHMARKS)


def test_an_unknown_benchmark_is_refused_with_the_names_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tiles"])

    assert end.value.code == 2
    assert "composite" in capsys.readouterr().err


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
    right = np.array([[0.1, 0.2, np.nan, 0.4]], np.float32)

    assert comparison.alike(right, right, 2e-6) == 1
    assert comparison.alike(right, np.nan_to_num(right), 2e-6) == 0.75
    assert comparison.alike(right, right + 1e-4, 2e-6) == 0.25


def test_a_result_that_differs_is_a_problem_of_its_table() -> None:
    right = np.ones((2, 3), np.float32)
    table = Table("A thing", ())

    shown = [
        comparison.agreement(right, right, 1e-6, "the same", table),
        comparison.agreement(right, right * [1, 1, 2], 1e-6, "another", table),
        comparison.agreement(right, right[:1], 1e-6, "smaller", table),
    ]

    assert shown == ["100.00%", "66.67%", "no"]
    assert len(table.problems) == 2
    assert "another: only 66.6667%" in table.problems[0]
    assert "smaller: its shape is (1, 3)" in table.problems[1]


def spec_of(data: Dataset, edge: int, graph: str = "composite") -> dict[str, object]:
    return {
        "graph": graph,
        "data": data.parameters,
        "window": edge,
        "block": 256,
        "threads": 2,
        "bands": ["B04", "B08", "SCL"],
    }


def test_each_run_decodes_everything_anew(small: Dataset) -> None:
    task = terrazzo_graphs.contestant({"tasks": {"a": spec_of(small, 512)}})["a"]
    decoded = []

    for _ in range(2):
        with recorded() as recorder:
            task()
        decoded.append(recorder.counts["bytes_decoded"])

    # Two bands of 2 bytes, and the classes of 1 byte in a quarter as many pixels.
    assert decoded == [512 * 512 * (2 + 2 + 1 / 4)] * 2


def test_linked_dates_are_the_files_of_the_scene_under_other_names(small: Dataset) -> None:
    year = links.year(small)

    months = [day.month for day in year.days]
    assert {months.count(month) for month in range(1, 13)} == {2, 3, 4}
    first = small.asset(small.days[0], "B04")
    for day in year.days:
        assert year.asset(day, "B04").samefile(first)
        assert year.asset(day, "B04") != first
    assert len({item["properties"]["datetime"] for item in year.items}) == 36


def test_a_linked_band_is_computed_like_the_band_it_is(small: Dataset) -> None:
    wide = links.wide(small)
    spec = spec_of(wide, 512, "bands_median") | {"options": {"bands": links.BANDS[:4]}}

    found = terrazzo_graphs.contestant({"tasks": {"a": spec}})["a"]()["result"]

    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])
    assert not np.array_equal(found[0], found[1], equal_nan=True)


@pytest.mark.parametrize(("one", "way"), [(COARSE, "coarse_read"), (KERNEL, "smooth")])
def test_peers_that_are_written_by_hand_agree(
    small: Dataset, one: comparison.Comparison, way: str
) -> None:
    spec = spec_of(small, 510, one.graph)

    ours = terrazzo_graphs.contestant({"tasks": {"a": spec}})["a"]()["result"]
    theirs = rasterio_cubes.contestant({"tasks": {"a": spec}, "way": way})["a"]()["result"]

    tolerance = next(r.tolerance for r in one.rivals.values() if r.way == way)
    assert comparison.alike(ours, theirs, tolerance) == 1


def test_blocks_cover_every_pixel_once() -> None:
    seen = np.zeros((1100, 1100), int)

    for row, col, height, width in blocks(1100, 512):
        seen[row : row + height, col : col + width] += 1

    assert (seen == 1).all()


def test_a_contestant_that_takes_long_runs_once(small: Dataset) -> None:
    tasks = {"tasks": {"a": spec_of(small, 512)}}
    function = "bench.contestants.decoding:by_block"
    contestants = [Contestant("slow", function, tasks, once=True), Contestant("b", function, tasks)]

    outcome = race(contestants, ["a"], 2)

    assert outcome.timings["a", "slow"].runs == 1
    assert outcome.timings["a", "b"].runs == 2


def test_the_hand_tuned_peer_computes_the_median_of_clear_pixels() -> None:
    from bench.contestants.odc_cubes import clear_median  # noqa: PLC0415 - imports Dask

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
    table = Table("A thing", ("CPU s",), list(rows), ["not the same"])

    page = report.page([Section("a", "A", "b", "c", [table])], small, "python -m bench", 1)

    assert "- A thing: Terrazzo: 2.00 x the CPU time" in page
    assert "- not the same" in page


def test_the_report_says_which_targets_are_missed(small: Dataset) -> None:
    met, missed = Target.at_most("CPU ms", 20, 12.34), Target.at_least("times", 1.7, 1.5)
    section = Section("a", "A", "b", "c", [], [met, missed])

    page = report.page([section], small, "python -m bench", 1)

    assert "Of 2 targets that we set ourselves, 1 are met" in page
    assert "| CPU ms | at most 20 | 12.3 | met |" in page
    assert "| times | at least 1.7 | 1.50 | **missed** |" in page


@pytest.mark.parametrize(
    ("section", "status"),
    [
        (Section("a", "A", "b", "c"), 0),
        (Section("a", "A", "b", "c", targets=[Target.at_most("CPU ms", 1, 2)]), 0),
        (Section("a", "A", "b", "c", targets=[Target.at_most("x", 1, 2, timed=False)]), 3),
        (Section("a", "A", "b", "c", [Table("t", (), problems=["other numbers"])]), 4),
    ],
)
def test_the_status_is_0_unless_results_differ_or_a_sure_target_is_missed(
    section: Section, status: int, small: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def benchmark(data: Dataset, options: Options) -> Section:
        assert (data.size, options.images) == (small.size, tmp_path / "images")
        return section

    monkeypatch.setattr("bench.__main__.BENCHMARKS", {"one": benchmark})

    made, out = small.home.parent, tmp_path / "page.md"
    found = main(["--size=512", "--dates=1", f"--data={made}", f"--out={out}"])

    assert found == status


def test_a_run_of_everything_draws_all_comparisons_with_peers(
    small: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [Row("Terrazzo", ("1.0",), ratio=0.5), Row("peer", ("2.0",))]
    section = Section("a", "A", "b", "c", [Table("A thing", ("CPU s",), rows)])
    monkeypatch.setattr("bench.__main__.BENCHMARKS", {"one": lambda *_: section})
    out = tmp_path / "page.md"

    found = main(["--size=512", "--dates=1", f"--data={small.home.parent}", f"--out={out}"])

    assert found == 0
    assert "](images/bench-peers.svg)" in out.read_text()
    assert "A thing" in (tmp_path / "images" / "bench-peers.svg").read_text()


def test_equal_numbers_give_equal_plots(tmp_path: Path) -> None:
    points = {"Terrazzo": {1: 0.1, 2: 0.2, 100: 9.0}, "decoding": {1: 0.05, 2: 0.1, 100: 5.0}}
    files = [tmp_path / f"{name}.svg" for name in "abcdefgh"]

    for path in files[:2]:
        plots.proportional(path, points, ("dates", "CPU time, s"), "Dates")
    for path in files[2:4]:
        plots.level(path, points, ("block, pixels", "ns"), "Block")
    for path in files[4:6]:
        plots.bars(path, {"threads": 1.9}, ("target", 1.7), ("times", "Two"))
    for path in files[6:]:
        plots.ratios(path, {"a": 0.5, "b": 20}, ("times", "Peers"))

    drawn = [path.read_bytes() for path in files]
    assert drawn[::2] == drawn[1::2]
    assert len(set(drawn)) == 4


def test_a_page_shows_its_pictures(small: Dataset) -> None:
    pictures = [Picture("images/one.svg", "One"), Picture("images/two.svg", "Two")]
    section = Section("a", "A", "b", "c", pictures=pictures[1:])

    page = report.page([section], small, "python -m bench", 1, pictures[0])

    assert page.index("![One](images/one.svg)") < page.index("![Two](images/two.svg)")
