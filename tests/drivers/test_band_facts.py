"""Common names and wavelengths of bands, from the catalogue to the processes that ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.drivers.scenes import (
    CRS,
    LEFT,
    TOP,
    asset_of,
    job_of,
    load,
    node,
    ref,
    register,
    write_cog,
)

from terrazzo.catalog import BandInfo
from terrazzo.engine import evaluate, make_plan
from terrazzo.errors import BandNotFound
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Workspace

GRID = Grid.of(CRS, LEFT, TOP, 10.0, 20, 20)
BANDS = {
    "B04": ("red", 0.665),
    "B05": ("rededge", 0.704),
    "B06": ("rededge", 0.74),
    "B08": ("nir", 0.842),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    pixels = np.stack([np.full((20, 20), 100 * n + 1, np.uint16) for n in range(len(BANDS))])
    path = write_cog(tmp_path / "assets" / "image.tif", pixels, GRID)
    known = tuple(
        BandInfo(name, "uint16", 0.0, common_name=common, wavelength_um=length)
        for name, (common, length) in BANDS.items()
    )
    assets = {"image": asset_of(path, known, GRID)}
    return register(tmp_path, "c", {"i": ("2020-01-01T00:00:00Z", assets)}, GRID)


def computed(workspace: Workspace, nodes: dict[str, Any]) -> Cube:
    plan = make_plan(job_of(nodes).infer(workspace))
    return evaluate(plan, plan.window)


def test_a_common_name_loads_all_bands_that_have_it(workspace: Workspace) -> None:
    graph = {"load": {**load(["rededge", "B04"], collection="c"), "result": True}}

    cube = computed(workspace, graph)

    assert cube.dimension("bands").labels == ("B05", "B06", "B04")
    np.testing.assert_array_equal(cube.values[0, :, 0, 0], [101, 201, 1])
    with pytest.raises(BandNotFound):
        computed(workspace, {"load": {**load(["swir"], collection="c"), "result": True}})


@pytest.mark.parametrize(
    ("criteria", "kept"),
    [
        ({"bands": ["nir", "rededge"]}, ("B08", "B05", "B06")),
        ({"wavelengths": [[0.7, 0.8], [0.6, 0.7]]}, ("B05", "B06", "B04")),
        ({"bands": ["red"], "wavelengths": [[0.8, 0.9]]}, ("B04", "B08")),
    ],
)
def test_bands_are_filtered_by_what_the_catalogue_knows(
    workspace: Workspace, criteria: dict[str, Any], kept: tuple[str, ...]
) -> None:
    graph = {
        "load": load(list(BANDS), collection="c"),
        "pick": node("filter_bands", True, data=ref("load"), **criteria),
    }

    cube = computed(workspace, graph)

    assert cube.dimension("bands").labels == kept
    expected = [100 * list(BANDS).index(name) + 1 for name in kept]
    np.testing.assert_array_equal(cube.values[0, :, 0, 0], expected)


def test_an_index_finds_its_bands_by_their_common_names(workspace: Workspace) -> None:
    graph = {
        "load": load(list(BANDS), collection="c"),
        "ndvi": node("ndvi", True, data=ref("load")),
    }

    cube = computed(workspace, graph)

    np.testing.assert_allclose(cube.values, (301 - 1) / (301 + 1), rtol=1e-6)
