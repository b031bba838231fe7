"""Valid graphs that between them call every cube process, to be spoilt by the tests."""

from __future__ import annotations

from typing import Any

from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import Inference, Opener, infer
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.progress import Progress
from terrazzo.testing.graphs import LEFT, TOP, callback, collections

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
    """Return a graph of nodes that each take the one before as `data`, if they take such."""
    graph: dict[str, Any] = {"load": load(), **more}
    last = "load"
    for number, each in enumerate(nodes):
        name = f"n{number}"
        spec = SPECS.get(each["process_id"])
        takes = spec is None or "data" in {parameter.name for parameter in spec.parameters}
        before = {"data": ref(last)} if takes else {}
        graph[name] = {**each, "arguments": {**before, **each["arguments"]}}
        last = name
    graph[last] = {**graph[last], "result": True}
    return graph


def steps(**nodes: dict[str, Any]) -> dict[str, Any]:
    """Return a callback of several nodes, the last of which is its result."""
    names = list(nodes)
    return {"process_graph": {**nodes, names[-1]: {**nodes[names[-1]], "result": True}}}


def inferred(
    graph: Any, opener: Opener | None = None, *, memory: int = 50_000_000, block: int = 64
) -> Inference:
    """Infer a graph and carry out its stages, within little memory."""
    inference = infer(parse(graph, specs=SPECS), opener or collections())
    means = Means(block, Pool("threads", 1, memory), Progress())
    return settled(Job(""), inference, (inference.graph.result,), means)[0]


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
    "vectors": chain(
        node("mask_polygon", mask=ref("there")),
        node("filter_spatial", geometries=ref("here")),
        here=node("load_geojson", data=TRIANGLE, properties=["id"]),
        utm=node("vector_reproject", data=ref("here"), projection=32633, dimension="geometry"),
        wide=node("vector_buffer", geometries=ref("utm"), distance=30),
        near=node("filter_vector", data=ref("wide"), geometries=ref("here"), relation="intersects"),
        there=node("vector_buffer", geometries=ref("near"), distance=-5),
    ),
    "points": chain(
        node("aggregate_spatial", geometries=ref("both"), reducer=MEAN),
        here=node("load_geojson", data=TRIANGLE),
        utm=node("vector_reproject", data=ref("here"), projection=32633),
        even=node("vector_to_regular_points", data=ref("utm"), distance=50, group=True),
        some=node(
            "vector_to_random_points",
            data=ref("utm"),
            geometry_count=3,
            total_count=3,
            group=True,
            seed=1,
        ),
        both=node("merge_cubes", cube1=ref("even"), cube2=ref("some")),
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

SUBTRACT = callback("subtract", x=X, y={"from_parameter": "y"})
LARGER = callback("max", data=[X, {"from_parameter": "y"}])


def _line(*, through: str) -> dict[str, Any]:
    """Return a model, a + f(b) * x."""
    return steps(
        a=node("array_element", data={"from_parameter": "parameters"}, index=0),
        b=node("array_element", data={"from_parameter": "parameters"}, index=1),
        slope=node(through, x=ref("b")),
        rise=node("multiply", x=X, y=ref("slope")),
        y=node("add", x=ref("a"), y=ref("rise")),
    )


def _curve(through: str) -> dict[str, Any]:
    """Return a graph that fits a model to the dates and predicts others."""
    model = _line(through=through)
    return chain(
        node(
            "apply_dimension",
            dimension="t",
            target_dimension="parameters",
            process=callback("fit_curve", data=DATA, parameters=[100, 1e-6], function=model),
        ),
        {
            "process_id": "predict_curve",
            "arguments": {
                "parameters": ref("n0"),
                "function": model,
                "dimension": "t",
                "labels": ["2020-01-01", "2020-02-01"],
            },
        },
    )


VALID["climate"] = chain(
    node("aggregate_temporal_period", period="month", reducer=MEAN),
    node("anomaly", normals=ref("normals"), period="month"),
    node("apply", process=HALF),
    years=node(
        "aggregate_temporal",
        data=ref("load"),
        intervals=[[None, "2020-01-06"], ["2020-01-03", None], ["2020-02-01", None]],
        labels=["2020-01-05", "2021-01-15", "2021-03-02"],
        reducer=MEAN,
    ),
    normals=node(
        "climatological_normal", data=ref("years"), period="month", climatology_period=[2020, 2021]
    ),
)
VALID["dates of another"] = chain(
    node("resample_cube_temporal", target=ref("some"), dimension="t", valid_within=30),
    some=node("filter_temporal", data=ref("coarse"), extent=["2020-01-10", None]),
    coarse=load("coarse"),
)
VALID["flat"] = chain(
    node(
        "flatten_dimensions", dimensions=["t", "bands"], target_dimension="one", label_separator="/"
    ),
    node(
        "unflatten_dimension",
        dimension="one",
        target_dimensions=["first", "second"],
        label_separator="/",
    ),
    node("reduce_dimension", dimension="first", reducer=MEAN),
)
VALID["clouds"] = chain(
    node("apply", process=callback("multiply", x=X, y=0.001)),
    node("rename_labels", dimension="bands", source=["nir"], target=["green"]),
    node("cloud_detection", method=None, options={}),
)
VALID["trend"] = _curve("absolute")
VALID["curve"] = _curve("arctan")
VALID["gaps"] = chain(
    {
        "process_id": "predict_curve",
        "arguments": {
            "parameters": ref("load"),
            "function": callback("array_element", data={"from_parameter": "parameters"}, index=0),
            "dimension": "t",
        },
    },
)
VALID["windows"] = chain(
    node("inspect", message="as loaded", code="here", level="debug"),
    node(
        "aggregate_spatial_window", size=[3, 2], reducer=MEAN, boundary="pad", align="lower-right"
    ),
    node("apply", process=HALF),
)
VALID["fields"] = chain(
    node(
        "apply_polygon",
        geometries=ref("here"),
        process=callback("apply_kernel", data=DATA, kernel=[[1, 2, 1]], border="wrap"),
        mask_value=-1,
    ),
    here=node("load_geojson", data=TRIANGLE),
)
VALID["small chunks"] = chain(
    node(
        "apply_neighborhood",
        process=callback("apply_kernel", data=DATA, kernel=[[1.0, 2.0, 1.0]]),
        size=[{**one, "value": 2} for one in PX],
        overlap=[{**one, "value": 1} for one in PX],
    )
)
VALID["chunks of rows"] = chain(
    node(
        "apply_neighborhood",
        process=callback("cumsum", data=DATA),
        size=[
            {"dimension": "x", "value": 30, "unit": "m"},
            {"dimension": "y", "value": 1, "unit": "px"},
            {"dimension": "bands", "value": 1, "unit": "px"},
            {"dimension": "t", "value": 1},
        ],
    )
)
VALID["centred"] = chain(
    node("trim_cube"),
    {
        "process_id": "merge_cubes",
        "arguments": {
            "cube1": ref("n0"),
            "cube2": ref("typical"),
            "overlap_resolver": SUBTRACT,
        },
    },
    load=load(spatial_extent=BOX),
    typical=node("reduce_spatial", data=ref("load"), reducer=MEAN),
)
VALID["merged with nothing"] = chain(
    {
        "process_id": "merge_cubes",
        "arguments": {"cube1": ref("made"), "cube2": ref("load"), "overlap_resolver": LARGER},
    },
    nothing=node("create_data_cube"),
    made=node("add_dimension", data=ref("nothing"), name="bands", label="none", type="bands"),
)
VALID["merged with less"] = {
    "a": load(),
    "b": load("coarse"),
    "mean": node("reduce_dimension", data=ref("b"), reducer=MEAN, dimension="t"),
    "m": {
        **node("merge_cubes", cube1=ref("mean"), cube2=ref("a"), overlap_resolver=SUBTRACT),
        "result": True,
    },
}
VALID["merged labels"] = {
    "a": load(bands=["red"]),
    "b": load("coarse", bands=["nir"]),
    "m": {**node("merge_cubes", cube1=ref("a"), cube2=ref("b")), "result": True},
}
VALID["code of users"] = chain(
    node(
        "run_udf",
        udf="def apply_datacube(cube, context):\n    return cube * context['factor']\n",
        runtime="Python",
        context={"factor": 2},
    ),
)
