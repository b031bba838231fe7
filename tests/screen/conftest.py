"""A small collection as a layer: two bands of known numbers on three dates, and their NDVI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.server.small import COLLECTION, graph, make_home

from terrazzo.drivers.screen.layer import Layer, open_layer

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace


@pytest.fixture(scope="package")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="package")
def ndvi(workspace: Workspace) -> Layer:
    return open_layer(workspace, graph(), title="NDVI")


@pytest.fixture(scope="package")
def images(workspace: Workspace) -> Layer:
    """The images as they are."""
    arguments = {
        "id": COLLECTION,
        "spatial_extent": None,
        "temporal_extent": None,
        "bands": ["red", "nir"],
    }
    node = {"process_id": "load_collection", "arguments": arguments, "result": True}
    return open_layer(workspace, {"process_graph": {"load": node}})
