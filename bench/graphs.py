"""The process graphs that are measured, and the numbers that say the same to the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.dataset import COLLECTION, OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.dataset import Dataset

CLEAR = (4, 5, 6, 7, 11)
"""Scene classes that are used: vegetation, bare, water, unclassified, snow."""
TWICE_OFFSET = 2 * OFFSET
"""ndvi = (b08 - b04) / (b08 + b04 - TWICE_OFFSET) of stored numbers."""
THREE_BANDS = ("B08", "B04", "B03")
"""Near infrared, red, green as red, green, blue."""

Graph = dict[str, dict[str, Any]]


def load(data: Dataset, bands: Sequence[str], *, dates: int | None = None) -> dict[str, Any]:
    """Return the node that loads bands of all dates, or of the first ones."""
    start, end = data.interval if dates is None else type(data)(data.home, 0, dates).interval
    return {
        "process_id": "load_collection",
        "arguments": {
            "id": COLLECTION,
            "spatial_extent": None,
            "temporal_extent": [start, end],
            "bands": list(bands),
        },
    }


def _node(process: str, result: bool = False, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments, **({"result": True} if result else {})}


def _from(node: str) -> dict[str, str]:
    return {"from_node": node}


_DATA = {"from_parameter": "data"}


def three_bands(data: Dataset) -> Graph:
    """Return three bands of the first date."""
    loaded = load(data, THREE_BANDS, dates=1)
    return {"load": loaded | {"result": True}}


def ndvi(data: Dataset) -> Graph:
    """Return the index of every date."""
    return {
        "load": load(data, ("B04", "B08")),
        "ndvi": _node("ndvi", True, data=_from("load"), nir="B08", red="B04"),
    }


def _median(data: str) -> dict[str, Any]:
    reducer = {"process_graph": {"median": _node("median", True, data=_DATA)}}
    return _node("reduce_dimension", True, data=_from(data), dimension="t", reducer=reducer)


def ndvi_median(data: Dataset) -> Graph:
    """Return the median over time of the index."""
    graph = ndvi(data)
    del graph["ndvi"]["result"]
    return graph | {"median": _median("ndvi")}


def composite(data: Dataset) -> Graph:
    """Return the median over time of the index where the scene classes say that it is clear."""
    x = _from("class")
    unusable = {
        "class": _node("array_element", data=_DATA, index=0),
        "low": _node("lt", x=x, y=4),
        "cloudy": _node("between", x=x, min=8, max=10),
        "any": _node("or", True, x=_from("low"), y=_from("cloudy")),
    }
    return {
        "load": load(data, ("B04", "B08", "SCL")),
        "classes": _node("filter_bands", data=_from("load"), bands=["SCL"]),
        "unusable": _node(
            "reduce_dimension",
            data=_from("classes"),
            dimension="bands",
            reducer={"process_graph": unusable},
        ),
        "ndvi": _node("ndvi", data=_from("load"), nir="B08", red="B04"),
        "clear": _node("mask", data=_from("ndvi"), mask=_from("unusable")),
        "median": _median("clear"),
    }
