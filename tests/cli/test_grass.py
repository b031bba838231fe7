"""`terrazzo grass`: a module over a collection is what GRASS makes of its images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from tests.cli.test_commands import call
from tests.grass.oracle import need_grass
from tests.server.small import COLLECTION, DATES, nir, red

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _grass() -> None:
    need_grass()


def files(told: Any) -> list[tuple[np.ndarray[Any, Any], tuple[str | None, ...]]]:
    """Return pixels, NaN where there are none, and names of the bands of what a run has made."""
    found = []
    for line in told.stdout.splitlines():
        with rasterio.open(json.loads(line)["path"]) as file:
            pixels = file.read(masked=True).astype(np.float64).filled(np.nan)
            found.append((pixels, file.descriptions))
    return found


def test_an_expression_is_computed_for_every_date(home: Path, tmp_path: Path) -> None:
    told = call(
        home, "grass", "r.mapcalc", f"input={COLLECTION}", "expression=nir - red[0,-1]",
        "-o", tmp_path / "out", "--block", 128,
    )  # fmt: skip

    made = files(told)
    assert len(made) == len(DATES)
    for (pixels, _), date in zip(made, DATES, strict=True):
        year = int(date[:4])
        expected = np.full((300, 300), np.nan)
        expected[:, 1:] = nir(year)[:, 1:].astype(float) - red(year)[:, :-1]
        expected[:40, :41] = np.nan  # no data, and its neighbour
        np.testing.assert_array_equal(pixels[0], expected)


def test_outputs_are_named_as_the_user_names_them(home: Path, tmp_path: Path) -> None:
    told = call(
        home, "grass", "r.slope.aspect", f"elevation={COLLECTION}:red", "slope=steepness",
        "dx=dx", "format=percent", "--datetime", "2018-05", "-o", tmp_path / "out",
    )  # fmt: skip

    ((pixels, names),) = files(told)
    assert names == ("steepness", "dx")
    inner = pixels[:, 50:-1, 50:-1]
    np.testing.assert_allclose(inner[0], 10.0)  # a metre up for each pixel of ten
    np.testing.assert_allclose(np.abs(inner[1]), 0.1, rtol=1e-6)


def test_what_sees_everything_sees_the_box(home: Path, tmp_path: Path) -> None:
    box = "500500,4998500,501500,4999500"
    told = call(
        home, "grass", "r.watershed", f"elevation={COLLECTION}:nir", "accumulation=accumulation",
        "--flags", "s", "--bbox", box, "--bbox-crs", "EPSG:32634", "--datetime", "2018-05",
        "-o", tmp_path / "out", "--block", 64,
    )  # fmt: skip

    ((pixels, _),) = files(told)
    assert pixels.shape == (1, 100, 100)
    # It rises to the south, so that water runs north, and each row has that of all below it but
    # the last, whose water leaves the box.
    np.testing.assert_array_equal(np.abs(pixels[0, :, 50]), [*range(99, 0, -1), 1])


def test_a_run_that_is_there_is_gone_on_with(home: Path, tmp_path: Path) -> None:
    words = "grass", "r.relief", f"input={COLLECTION}:red", "-o", tmp_path / "out"

    first, again = call(home, *words), call(home, *words)

    assert again.stdout == first.stdout
    assert "were there already" in again.stderr


def test_the_graph_is_printed_and_nothing_run(home: Path) -> None:
    told = call(
        home, "grass", "r.clump", f"input={COLLECTION}:red,nir", "minsize=4", "--flags", "d",
        "--datetime", "2018-01-01/2019-01-01", "--print-graph",
    )  # fmt: skip

    graph = json.loads(told.stdout)
    assert graph["load"]["arguments"] == {
        "id": COLLECTION,
        "bands": ["red", "nir"],
        "spatial_extent": None,
        "temporal_extent": ["2018-01-01", "2019-01-01"],
    }
    assert graph["grass"]["process_id"] == "run_grass_whole"
    assert graph["grass"]["arguments"]["parameters"] == {"minsize": 4.0}
    assert graph["grass"]["result"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r.slop.aspect", "elevation=small"], "Did you mean 'r.slope.aspect'"),
        (["r.slope.aspect"], "elevation=COLLECTION"),
        (["r.slope.aspect", "input=small"], "elevation=COLLECTION"),
        (["r.slope.aspect", "small"], "no KEY=VALUE"),
        (["r.slope.aspect", "elevation=small:red", "slope=s", "slope=t"], "slope= is given twice"),
        (["r.slope.aspect", "elevation=small:"], "a band without a name"),
        (["r.slope.aspect", "elevation=small:red,"], "a band without a name"),
        (["r.slope.aspect", "elevation=smal:red"], "Did you mean 'small'"),
        (["r.slope.aspect", "elevation=small:rde"], "Did you mean 'red'"),
        (["r.slope.aspect", "elevation=small"], "has 2 bands (red, nir)"),
        (["r.neighbors", "input=small", "output=x"], "leave `output` out"),
        (["r.neighbors", "input=small", "size=4"], "an odd number"),
        (["r.neighbors", "input=small", "size=four"], "an odd number"),
        (["r.neighbors", "input=small", "--flags", "x"], "flags"),
        (["r.mapcalc", "input=small", "expression=nir - rand(0, 1)"], "no function 'rand'"),
        (["r.relief", "input=small", "--crs", "EPSG:3035"], "Leave them out"),
    ],
)
def test_mistakes_are_bad_input_and_leave_nothing(
    home: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    told = call(home, "grass", *words, "-o", tmp_path / "out", status=2)

    assert said in told.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_needs_a_folder(home: Path) -> None:
    told = call(home, "grass", "r.relief", "input=small:red", status=2)

    assert "-o" in told.stderr
