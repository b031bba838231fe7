"""Valid graphs that between them call every cube process, to be spoilt by the tests."""

from __future__ import annotations

from typing import Any

from terrazzo.testing.graphs import LEFT, TOP, callback

DATA = {"from_parameter": "data"}
X = {"from_parameter": "x"}
TRIANGLE = {
    "type": "Polygon",
    "coordinates": [[[15.0, 45.15], [15.009, 45.15], [15.0, 45.147], [15.0, 45.15]]],
}
BOX = {
    "west": LEFT + 33,
    "east": LEFT + 444,
    "south": TOP - 471,
    "north": TOP - 57,
    "crs": 32633,
}


def node(process_id: str, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process_id, "arguments": arguments}


def ref(name: str) -> dict[str, str]:
    return {"from_node": name}


def load(name: str = "fine", **more: Any) -> dict[str, Any]:
    arguments = {"id": name, "spatial_extent": None, "temporal_extent": None, **more}
    return node("load_collection", **arguments)


def chain(*nodes: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """Return a graph of nodes that each take the one before as `data`."""
    graph: dict[str, Any] = {"load": load(), **more}
    last = "load"
    for number, each in enumerate(nodes):
        name = f"n{number}"
        graph[name] = {**each, "arguments": {"data": ref(last), **each["arguments"]}}
        last = name
    graph[last] = {**graph[last], "result": True}
    return graph


def steps(**nodes: dict[str, Any]) -> dict[str, Any]:
    """Return a callback of several nodes, the last of which is its result."""
    names = list(nodes)
    return {"process_graph": {**nodes, names[-1]: {**nodes[names[-1]], "result": True}}}


MEAN = callback("mean", data=DATA)
HALF = callback("multiply", x=X, y=0.5)
PX = [{"dimension": d, "value": 8, "unit": "px"} for d in ("x", "y")]
NDVI = steps(
    nir=node("array_element", data=DATA, label="nir"),
    red=node("array_element", data=DATA, index=0),
    nd=node("normalized_difference", x=ref("nir"), y=ref("red")),
)
INNER = callback(
    "array_apply",
    data=DATA,
    process=callback("add", x=X, y={"from_parameter": "context"}),
    context=3,
)

VALID: dict[str, dict[str, Any]] = {
    "load": chain(
        node("filter_bbox", extent=BOX),
        load=load(
            spatial_extent={"west": 15.0, "south": 45.14, "east": 15.01, "north": 45.16},
            temporal_extent=["2020-01-01", "2021-01-01"],
            bands=["nir", "red"],
            properties={"eo:cloud_cover": callback("lte", x={"from_parameter": "value"}, y=50)},
        ),
    ),
    "filters": chain(
        node("filter_temporal", extent=["2020-01-01", "2020-03-01"], dimension="t"),
        node("filter_bands", bands=["red"]),
        node(
            "filter_labels",
            condition=callback("eq", x={"from_parameter": "value"}, y="red"),
            dimension="bands",
        ),
        node("filter_spatial", geometries=TRIANGLE),
        node("filter_bbox", extent=BOX),
    ),
    "kernel": chain(
        node(
            "apply_kernel",
            kernel=[[1, 2, 1], [2, 4, 2], [1, 2, 1]],
            factor=0.0625,
            border="reflect",
            replace_invalid=3,
        ),
    ),
    "neighbourhood": chain(
        node(
            "apply_neighborhood",
            process=callback("apply_kernel", data=DATA, kernel=[[1.0, 2.0, 1.0]]),
            size=PX,
            overlap=[{"dimension": "x", "value": 2, "unit": "px"}],
        )
    ),
    "bands": chain(node("reduce_dimension", reducer=NDVI, dimension="bands", context={"a": [1]})),
    "time": chain(
        node("aggregate_temporal_period", period="month", reducer=MEAN),
        node(
            "apply_dimension",
            process=callback("cumsum", data=DATA),
            dimension="t",
            target_dimension="step",
        ),
        node("reduce_dimension", reducer=callback("median", data=DATA), dimension="step"),
    ),
    "intervals": chain(
        node(
            "aggregate_temporal",
            intervals=[["2020-01-01", "2020-02-01"], ["2020-01-20", None]],
            labels=["a", "b"],
            reducer=MEAN,
            dimension="t",
        ),
        node("apply_dimension", process=INNER, dimension="t"),
    ),
    "mask": chain(
        node("mask", mask=ref("cloudy"), replacement=7),
        node("mask_polygon", mask=TRIANGLE, replacement=None, inside=True),
        cloudy=node("apply", data=ref("load"), process=callback("lt", x=X, y=200)),
    ),
    "resample": chain(
        node("apply", process=HALF),
        node(
            "resample_spatial",
            resolution=[20, 30],
            projection=3035,
            method="average",
            align="lower-left",
        ),
        node("resample_cube_spatial", target=ref("load"), method="bilinear"),
    ),
    "merge": chain(
        node("rename_labels", dimension="bands", target=["r2", "n2"], source=["red", "nir"]),
        node("add_dimension", name="model", label="one", type="other"),
        node("drop_dimension", name="model"),
        node("rename_dimension", source="t", target="when"),
        {"process_id": "rename_dimension", "arguments": {"source": "when", "target": "t"}},
    ),
    "merge_two": {
        "a": load(),
        "b": load("coarse"),
        "m": {
            **node(
                "merge_cubes",
                cube1=ref("a"),
                cube2=ref("b"),
                overlap_resolver=callback("max", data=[X, {"from_parameter": "y"}]),
                context=None,
            ),
            "result": True,
        },
    },
    "scalars": chain(
        {**node("resample_spatial", resolution=ref("sum"), data=ref("both"))},
        node("ndvi", nir="nir", red="red", target_band="ndvi"),
        names=node("dimension_labels", data=ref("load"), dimension="bands"),
        both=node("filter_bands", data=ref("load"), bands=ref("names")),
        sum=node("add", x=10, y=ref("ten")),
        ten=node("multiply", x=2, y=5),
    ),
    "if": {
        "small": node("lt", x=1, y=2),
        "a": load(),
        "b": load("coarse"),
        "choice": node("if", value=ref("small"), accept=ref("a"), reject=ref("b")),
        "save": {
            **node("save_result", data=ref("choice"), format="GTiff", options={}),
            "result": True,
        },
    },
    "apply": chain(
        node(
            "apply",
            process=steps(
                scaled=node(
                    "linear_scale_range", x=X, inputMin=0, inputMax=1008, outputMin=-1, outputMax=2
                ),
                big=node("gt", x=ref("scaled"), y=0.5),
                root=node("power", base=ref("scaled"), p=2),
                out=node("if", value=ref("big"), accept=ref("root"), reject=ref("scaled")),
            ),
        ),
    ),
    "zonal": chain(
        node(
            "aggregate_spatial",
            geometries={
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "geometry": TRIANGLE, "properties": {"id": 1}}],
            },
            reducer=MEAN,
            target_dimension="stats",
        ),
    ),
}
VALID["rich"] = chain(
    node(
        "apply_dimension",
        dimension="t",
        process=steps(
            a=node("sort", data=DATA, asc=True, nodata=None),
            b=node(
                "array_filter",
                data=ref("a"),
                condition=callback("gt", x={"from_parameter": "index"}, y=0),
            ),
            c=node("array_concat", array1=ref("b"), array2=[1, 2, None]),
            d=node("array_append", data=ref("c"), value=5),
            e=node("cumsum", data=ref("d")),
        ),
    ),
    node(
        "reduce_dimension",
        dimension="t",
        reducer=steps(
            q=node("quantiles", data=DATA, probabilities=[0.25, 0.5]),
            e=node("array_element", data=ref("q"), index=1, return_nodata=True),
        ),
    ),
    node(
        "reduce_dimension",
        dimension="bands",
        reducer=callback("count", data=DATA, condition=callback("gt", x=X, y=5)),
    ),
)
