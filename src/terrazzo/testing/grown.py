"""What random process graphs are made of: collections, and a graph that grows node by node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from terrazzo.geo.grid import Grid
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

LEFT, TOP = 500_000.0, 5_000_000.0
"""Upper left corner of the collections, metres of EPSG:32633."""
TIMES = ("2020-01-05T10:00:00Z", "2020-01-25T10:00:00Z", "2020-03-02T10:00:00Z")
REDUCERS = ("median", "mean", "max", "min", "sum", "sd", "first", "last", "count")
DATA = {"from_parameter": "data"}
X = {"from_parameter": "x"}

Draw = Any


@dataclass(frozen=True)
class Ground:
    """The collections that graphs start from: two bands each, in one place."""

    collections: tuple[str, ...] = ("fine", "coarse")
    """Their ids."""
    bands: tuple[str, str] = ("red", "nir")
    """Red and near infrared, in the order in which they are loaded by default."""
    extent: tuple[str, str] = ("2020-01-01", "2020-02-01")
    """A period with some of the dates."""
    box: tuple[float, float, float, float] = (LEFT + 33, TOP - 471, LEFT + 444, TOP - 57)
    """(left, bottom, right, top) of a part of them, `crs`."""
    crs: int = 32633
    """EPSG code of `box`."""
    levels: tuple[float, float] = (100, 500)
    """Values that some pixels are below."""


def collections(*, dtype: str = "uint16") -> SyntheticOpener:
    """Return two collections of one place: 10 m pixels, and 20 m pixels 5 m off their lattice."""
    fine = SyntheticSource(Grid.of(32633, LEFT, TOP, 10.0, 60, 70), TIMES, dtype=dtype)
    coarse = SyntheticSource(
        Grid.of(32633, LEFT - 35.0, TOP + 45.0, 20.0, 34, 40), TIMES, dtype=dtype, gaps=17
    )
    return SyntheticOpener({"fine": fine, "coarse": coarse})


@dataclass(frozen=True)
class Grown:
    """A graph that grows: its nodes so far and what its last node gives."""

    nodes: dict[str, Any]
    """Process graph, JSON values."""
    last: str
    """Id of the node at the end."""
    time: bool = True
    """Whether the cube has dimension `t`."""
    bands: tuple[str, ...] = ("red", "nir")
    """Labels of dimension `bands`; empty where it is gone."""
    ground: Ground = Ground()
    """What it starts from."""

    def then(self, process: str, arguments: dict[str, Any], **changes: Any) -> Grown:
        """Return the graph with one more node on its end."""
        name = f"{process}{len(self.nodes)}"
        node = {"process_id": process, "arguments": arguments}
        return replace(self, nodes={**self.nodes, name: node}, last=name, **changes)

    @property
    def data(self) -> dict[str, str]:
        """The last node as an argument."""
        return {"from_node": self.last}


def callback(process: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a callback of one node; `x` or `data` unless arguments say otherwise."""
    node = {"process_id": process, "arguments": arguments, "result": True}
    return {"process_graph": {"only": node}}


def load(draw: Draw, grown: Grown) -> Grown:
    """Begin with a collection; the nodes that there are stay."""
    ground = grown.ground
    name = draw(st.sampled_from(ground.collections))
    turned = draw(st.booleans())
    bands = ground.bands[::-1] if turned else ground.bands
    arguments: dict[str, Any] = {"id": name, "spatial_extent": None, "temporal_extent": None}
    if turned or ground != Ground():
        arguments["bands"] = list(bands)
    return Grown(grown.nodes, grown.last, ground=ground).then(
        "load_collection", arguments, bands=bands
    )
