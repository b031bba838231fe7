"""A tile that would need more memory than one may is refused before it is computed."""

from __future__ import annotations

import pytest

from terrazzo.drivers.tile import MERCATOR, TileLayer
from terrazzo.engine import infer
from terrazzo.errors import PlanTooLarge
from terrazzo.geo.grid import Grid
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

NODES = {
    "load": {
        "process_id": "load_collection",
        "arguments": {"id": "wide", "spatial_extent": None, "temporal_extent": None},
    },
    "coarser": {
        "process_id": "resample_spatial",
        "arguments": {"data": {"from_node": "load"}, "resolution": 20, "method": "average"},
        "result": True,
    },
}


def test_a_graph_with_its_own_grid_is_not_computed_for_all_of_it_at_once() -> None:
    grid = Grid.of("EPSG:32633", 300_000, 5_600_000, 10, 60_000, 60_000)
    opener = SyntheticOpener({"wide": SyntheticSource(grid)})
    layer = TileLayer(infer(parse(NODES, specs=SPECS), opener))
    levels = layer.matrix(MERCATOR)
    far, near = layer.zooms(MERCATOR)

    def middle(zoom: int) -> tuple[int, int]:
        window = levels.grid(zoom).window_of(layer.bounds("EPSG:3857"))
        return (window.col + window.width // 2) // 256, (window.row + window.height // 2) // 256

    with pytest.raises(PlanTooLarge, match="Zoom in"):
        layer.cube(MERCATOR, far, *middle(far))
    assert layer.cube(MERCATOR, near, *middle(near)) is not None
