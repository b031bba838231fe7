"""Collections of geometries on a map: the tiles of the server, from the kernel, too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tests.server.fields import make_fields

import terrazzo
from terrazzo.drivers.features.squares import Square, plane_of
from terrazzo.drivers.features.tables import tables_of
from terrazzo.drivers.features.tiles import vector_tile
from terrazzo.errors import ArgumentInvalid, CollectionNotFound
from terrazzo.notebook.map_channel import Content
from terrazzo.notebook.map_screens import LayerGone, ServerRefused
from terrazzo.notebook.map_widget import box_of
from terrazzo.progress import Progress
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

PLACE = (15.01, 45.16)
"""Of some fields, degrees."""
ROWS = 2**10
TILE = {
    "matrix": "WebMercatorQuad",
    "z": 10,
    "x": int((PLACE[0] + 180) / 360 * ROWS),
    "y": int((1 - math.asinh(math.tan(math.radians(PLACE[1]))) / math.pi) / 2 * ROWS),
}
"""Holds them."""
IN_EUROPE = {"matrix": "EPSG-3035", "z": 10, "x": 547, "y": 493}
"""Holds them, too: pyproj has the place at x 4715 km and y 2463 km there."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_fields(tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="module")
def connection(workspace: Workspace) -> Iterator[Any]:
    session = requests.Session()
    session.trust_env = False
    with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
        yield terrazzo.connect(url, session=session)


@pytest.fixture(params=["kernel", "server"])
def a_map(
    request: pytest.FixtureRequest, workspace: Workspace, connection: Any
) -> Iterator[terrazzo.Map]:
    made = (
        terrazzo.Map(home=workspace.home)
        if request.param == "kernel"
        else terrazzo.Map(connection, home=workspace.home / "none")
    )
    yield made
    made.close()


@pytest.mark.parametrize("tile", [TILE, IN_EUROPE])
def test_a_collection_of_geometries_is_drawn_as_tiles(
    a_map: terrazzo.Map, workspace: Workspace, tile: dict[str, Any]
):
    layer = a_map.add("fields", color="#aa3300")
    (state,) = a_map.state["layers"]

    found = a_map._answer("features", state["source"], tile, Progress())
    nothing = a_map._answer("features", state["source"], {**tile, "x": 0}, Progress())

    square = Square(tile["z"], tile["x"], tile["y"], plane_of(tile["matrix"]))
    with workspace.catalog() as catalog:
        tables = tables_of(catalog, workspace.gate, "fields", bbox=square.bbox)
        wanted = vector_tile("fields", tables, workspace.gate, square)
    assert wanted
    assert isinstance(found, Content)
    assert isinstance(nothing, Content)
    assert (found.data, nothing.data) == (wanted, b"")
    assert (state["kind"], state["color"], layer.name) == ("features", "#aa3300",
                                                           "Fields of the valley")  # fmt: skip
    west, south, east, north = state["bounds"]
    assert west < PLACE[0] < east
    assert south < PLACE[1] < north


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ([15, 45, 16, 46], (15, 45, 16, 46)),
        ([15, 45, -3, 16, 46, 900], (15, 45, 16, 46)),
        ([179, -17, -179, -16], (179, -17, 181, -16)),
        ([], (-180, -85, 180, 85)),
        (["west", 1, 2, 3], (-180, -85, 180, 85)),
    ],
)
def test_the_map_goes_where_a_collection_says_that_it_is(stated: list[Any], shown: tuple[int, ...]):
    assert box_of({"extent": {"spatial": {"bbox": [stated]}}}) == shown


def test_collections_of_scenes_are_computed_as_before(a_map: terrazzo.Map):
    layer = a_map.add("small")

    assert layer.bands == ("red", "nir")


def test_what_is_not_there_is_told(a_map: terrazzo.Map):
    with pytest.raises((CollectionNotFound, ServerRefused), match="nowhere"):
        a_map.add("nowhere")
    with pytest.raises(ArgumentInvalid, match="Features have `color`"):
        a_map.add("fields", stretch=(0, 1))
    a_map.add("fields")
    (state,) = a_map.state["layers"]
    names = ({"matrix": "EPSG-0"}, {"matrix": "../x"})
    for wrong in (*names, {"z": 23}, {"x": 1024}, {"y": -1}, {"y": "../1"}):
        with pytest.raises(ArgumentInvalid):
            a_map._answer("features", state["source"], TILE | wrong, Progress())
    with pytest.raises(LayerGone):
        a_map._answer("features", "0-islands", TILE, Progress())
