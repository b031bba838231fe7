"""The process graphs that are measured, and the numbers that say the same to the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.dataset import COLLECTION, COLLECTION_20M, OFFSET, REAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.dataset import Dataset

CLEAR = (4, 5, 6, 7, 11)
"""Scene classes that are used: vegetation, bare, water, unclassified, snow."""
TWICE_OFFSET = 2 * OFFSET
"""ndvi = (b08 - b04) / (b08 + b04 - TWICE_OFFSET) of stored numbers."""
THREE_BANDS = ("B08", "B04", "B03")
"""Near infrared, red, green as red, green, blue."""
VEGETATION = 4
COARSE_METRES = 60
KERNEL = (
    (1, 4, 7, 4, 1),
    (4, 16, 26, 16, 4),
    (7, 26, 41, 26, 7),
    (4, 16, 26, 16, 4),
    (1, 4, 7, 4, 1),
)
"""Weights of a smoothing kernel that is no product of a row and a column; their sum is 273."""

Graph = dict[str, dict[str, Any]]


def load(
    data: Dataset, bands: Sequence[str], *, dates: int | None = None, collection: str = COLLECTION
) -> dict[str, Any]:
    """Return the node that loads bands of all dates, or of the first ones."""
    start, end = data.interval if dates is None else data.short(dates).interval
    return {
        "process_id": "load_collection",
        "arguments": {
            "id": collection,
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


def first_index(data: Dataset, code: str = "") -> Graph:
    """Return the index of the first date, by a node or by code of a user."""
    loaded = load(data, ("B04", "B08"), dates=1)
    if not code:
        return {
            "load": loaded,
            "index": _node("ndvi", True, data=_from("load"), nir="B08", red="B04"),
        }
    call = _node("run_udf", True, data=_DATA, udf=code, runtime="Python")
    reducer = {"process_graph": {"code": call}}
    return {
        "load": loaded,
        "index": _node(
            "reduce_dimension", True, data=_from("load"), dimension="bands", reducer=reducer
        ),
    }


def _reducer(process: str) -> dict[str, Any]:
    return {"process_graph": {process: _node(process, True, data=_DATA)}}


def _over_time(process: str, data: str) -> dict[str, Any]:
    return _node(
        "reduce_dimension", True, data=_from(data), dimension="t", reducer=_reducer(process)
    )


def _unfinished(graph: Graph) -> Graph:
    """Return a graph to go on with."""
    return {k: {a: b for a, b in node.items() if a != "result"} for k, node in graph.items()}


def ndvi_median(data: Dataset) -> Graph:
    """Return the median over time of the index."""
    return _unfinished(ndvi(data)) | {"median": _over_time("median", "ndvi")}


def composite(data: Dataset) -> Graph:
    """Return the median over time of the index where the scene classes say that it is clear."""
    return _clear_median(load(data, ("B04", "B08", "SCL")), red="B04", nir="B08")


def real_composite() -> Graph:
    """Return the same of the real series."""
    return _clear_median(_real(("B4", "B8", "SCL")), red="B4", nir="B8")


def real_median() -> Graph:
    """Return the median of the index over all dates of the real series."""
    ndvi = _node("ndvi", data=_from("load"), nir="B8", red="B4")
    return {"load": _real(("B4", "B8")), "ndvi": ndvi, "median": _over_time("median", "ndvi")}


def _real(bands: Sequence[str]) -> dict[str, Any]:
    everything = {"spatial_extent": None, "temporal_extent": None}
    return _node("load_collection", id=REAL, bands=list(bands), **everything)


def _clear_median(loaded: dict[str, Any], *, red: str, nir: str) -> Graph:
    x = _from("class")
    unusable = {
        "class": _node("array_element", data=_DATA, index=0),
        "low": _node("lt", x=x, y=4),
        "cloudy": _node("between", x=x, min=8, max=10),
        "any": _node("or", True, x=_from("low"), y=_from("cloudy")),
    }
    return {
        "load": loaded,
        "classes": _node("filter_bands", data=_from("load"), bands=["SCL"]),
        "unusable": _node(
            "reduce_dimension",
            data=_from("classes"),
            dimension="bands",
            reducer={"process_graph": unusable},
        ),
        "ndvi": _node("ndvi", data=_from("load"), nir=nir, red=red),
        "clear": _node("mask", data=_from("ndvi"), mask=_from("unusable")),
        "median": _over_time("median", "clear"),
    }


def monthly(data: Dataset) -> Graph:
    """Return the median of the index in each month."""
    median = _node(
        "aggregate_temporal_period",
        True,
        data=_from("ndvi"),
        period="month",
        reducer=_reducer("median"),
    )
    return _unfinished(ndvi(data)) | {"median": median}


def coarse(data: Dataset) -> Graph:
    """Return red and near infrared of all dates averaged to larger pixels."""
    resolution = {"resolution": COARSE_METRES, "method": "average"}
    return {
        "load": load(data, ("B04", "B08")),
        "coarse": _node("resample_spatial", True, data=_from("load"), **resolution),
    }


def smooth(data: Dataset) -> Graph:
    """Return red of all dates convolved with the kernel."""
    kernel, factor = [list(row) for row in KERNEL], 1 / 273
    return {
        "load": load(data, ("B04",)),
        "smooth": _node("apply_kernel", True, data=_from("load"), kernel=kernel, factor=factor),
    }


def merged(data: Dataset) -> Graph:
    """Return the mean over time of red where the other collection, of 20 m, says vegetation."""
    reducer = {
        "red": _node("array_element", data=_DATA, index=0),
        "class": _node("array_element", data=_DATA, index=1),
        "green": _node("eq", x=_from("class"), y=VEGETATION),
        "either": _node("if", True, value=_from("green"), accept=_from("red")),
    }
    return {
        "fine": load(data, ("B04",)),
        "classes": load(data, ("SCL",), collection=COLLECTION_20M),
        "merged": _node("merge_cubes", cube1=_from("fine"), cube2=_from("classes")),
        "green": _node(
            "reduce_dimension",
            data=_from("merged"),
            dimension="bands",
            reducer={"process_graph": reducer},
        ),
        "mean": _over_time("mean", "green"),
    }


def bands_median(data: Dataset, bands: Sequence[str]) -> Graph:
    """Return the median over time of each band."""
    return {"load": load(data, bands), "median": _over_time("median", "load")}


def yearly_bands(data: Dataset) -> Graph:
    """Return the medians over time of red and near infrared, and their NDVI as a third band."""
    index = {"data": _from("median"), "nir": "B08", "red": "B04", "target_band": "ndvi"}
    return _unfinished(bands_median(data, ("B04", "B08"))) | {"ndvi": _node("ndvi", True, **index)}
