"""Bad graphs are refused with one message: the node, the value, what is valid, the way out."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from random import Random

import numpy as np
import pytest
from tests.robustness.valid import (
    DATA,
    MEAN,
    NDVI,
    PX,
    TRIANGLE,
    VALID,
    X,
    chain,
    inferred,
    load,
    node,
    ref,
    steps,
)

from terrazzo.engine import check_memory, evaluate, make_plan
from terrazzo.errors import TerrazzoError
from terrazzo.geo.grid import Window
from terrazzo.testing.graphs import callback
from terrazzo.testing.mutations import mutated

SECONDS = 5.0
"""CPU time that a graph may take which is wrong; it takes milliseconds."""
MISTAKES = int(os.environ.get("TERRAZZO_EXAMPLES", "25"))
"""Random mistakes per valid graph."""
RASTERS = sorted(set(VALID) - {"zonal", "points"})


def result(made):
    return {**made, "result": True}


def one(process_id, /, **arguments):
    return chain(node(process_id, **arguments))


def run(graph):
    """Take a graph all the way to a few pixels, within little memory."""
    plan = make_plan(inferred(graph))
    check_memory(plan, 8, 50_000_000)
    window = plan.window
    return evaluate(plan, Window(window.row, window.col, 4, 4))


def polygon(*corners: tuple[float, float]):
    return {"type": "Polygon", "coordinates": [list(map(list, corners))]}


def bbox(west, south, east, north, **more):
    return {"west": west, "south": south, "east": east, "north": north, **more}


def only(process_id, /, **arguments):
    return callback(process_id, **arguments)


INTERVAL = ["2020-01-01", "2020-02-01"]
REFUSED = {
    "unknown process": (one("ndwi"), r"n0.*no process 'ndwi'. Did you mean 'ndvi'"),
    "missing argument": (
        one("reduce_dimension", dimension="t"),
        r"n0.*'reduce_dimension' needs the argument 'reducer'",
    ),
    "wrong type": (one("apply_kernel", kernel="x"), r"n0.*kernel.*must be an array.*\"x\""),
    "band of an index": (
        one("ndvi", nir="B8"),
        r"'n0' \(ndvi\): No band has the name or common name 'B8'.*red, nir.*`nir`",
    ),
    "band in a callback": (
        one("reduce_dimension", reducer=only("array_element", data=DATA, label="swir"),
            dimension="bands"),
        r"'n0' \(reduce_dimension\): Node 'only' \(array_element\).*'swir'.*red, nir",
    ),
    "unknown dimension": (
        one("reduce_dimension", reducer=MEAN, dimension="time"),
        r"'n0'.*Dimension 'time' is not in this cube.*t, bands, y, x",
    ),
    "empty extent": (
        one("filter_bbox", extent=bbox(1, 1, 0, 2, crs=32633)),
        r"'n0'.*west=1.0.*is empty. South must be below north",
    ),
    "extent outside": (
        one("filter_bbox", extent=bbox(1, 1, 2, 2)),
        r"'n0' \(filter_bbox\) leaves no pixel.*covers west 15.0.*Widen its extent or move",
    ),
    "extent of a collection outside": (
        {"load": result(load(spatial_extent=bbox(1, 1, 2, 2)))},
        r"'load'.*holds no pixel of 'fine'.*covers \(15.0",
    ),
    "extent beyond the Earth": (
        one("filter_bbox", extent=bbox(1, -100, 2, 200)),
        r"'n0'.*south=-100.0.*not on the Earth.*-90..90.*`crs`",
    ),
    "unknown collection": (
        {"load": result(load("fin"))},
        r"'load'.*'fin' is not in this catalogue. Did you mean 'fine'.*terrazzo ingest",
    ),
    "cycle": (
        {
            "a": node("filter_bands", data=ref("b"), bands=["red"]),
            "b": result(node("filter_bands", data=ref("a"), bands=["red"])),
        },
        r"cycle.*a -> b -> a. Break it",
    ),
    "even kernel": (
        one("apply_kernel", kernel=[[1, 2], [1, 2]]),
        r"'n0'.*2 rows and 2 columns. Both must be odd.*zeros",
    ),
    "ragged kernel": (
        one("apply_kernel", kernel=[[1, 2, 3], [1, 2], [1, 2, 3]]),
        r"'n0'.*equally long lists of numbers",
    ),
    "huge kernel": (
        one("apply_kernel", kernel=[[1.0] * 301] * 301),
        r"'n0'.*301 x 301 weights and may have 65536. Resample",
    ),
    "unknown border": (
        one("apply_kernel", kernel=[[1]], border="mirror"),
        r"n0.*border.*one of \"replicate\", \"reflect\".*\"mirror\"",
    ),
    "pixels too small": (
        one("resample_spatial", resolution=1e-9),
        r"'n0'.*1e-09 x 1e-09.*7e\+11 x 6e\+11.*resolution of 8.15e-08 or more",
    ),
    "pixels too large": (
        one("resample_spatial", resolution=1e300),
        r"'n0'.*1e\+300.*too large for an extent of 700 x 600",
    ),
    "array too long": (
        one("apply_dimension", dimension="t",
            process=only("array_create", data=[1], repeat=10**9)),
        r"'n0'.*Node 'only' \(array_create\): An array of 1,000,000,000 entries is too long",
    ),
    "resampling to nothing": (one("resample_spatial"), r"'n0'.*needs `resolution` or `projection`"),
    "unknown method": (
        one("resample_spatial", resolution=20, method="nearest"),
        r"n0.*method.*one of \"average\".*\"nearest\"",
    ),
    "unknown EPSG code": (
        one("resample_spatial", projection=1234567),
        r"'n0'.*'EPSG:1234567' is no coordinate reference system that PROJ knows. Use an EPSG",
    ),
    "CRS like a file": (
        one("resample_spatial", projection="/vsicurl/http://x/y"),
        r"'n0'.*'/vsicurl/http://x/y' is no coordinate reference system. Use an EPSG",
    ),
    "CRS that names a file": (
        one("resample_spatial", projection="+proj=longlat +nadgrids=/etc/passwd"),
        r"'n0'.*is refused.*names files or steps. Use an EPSG",
    ),
    "interval turned round": (
        one("aggregate_temporal", intervals=[INTERVAL[::-1]], reducer=MEAN),
        r"'n0'.*\[2020-02-01, 2020-01-01\) holds no instant.*must be after its start",
    ),
    "interval without an instant": (
        one("aggregate_temporal", intervals=[[INTERVAL[0]] * 2], reducer=MEAN),
        r"'n0'.*\[2020-01-01, 2020-01-01\) holds no instant.*must be after its start",
    ),
    "intervals with one label": (
        one("aggregate_temporal", intervals=[INTERVAL, [INTERVAL[0], None]], reducer=MEAN),
        r"'n0'.*'2020-01-01', '2020-01-01' are not distinct.*`labels`",
    ),
    "no day of the calendar": (
        one("filter_temporal", extent=["2020-02-30", "2020-03-01"]),
        r"'n0'.*'2020-02-30' is not a time: day is out of range.*Valid are 2018",
    ),
    "no offset from UTC": (
        one("filter_temporal", extent=["2020-01-01T00:00:00", "2020-03-01"]),
        r"'n0'.*no offset from UTC: write 2020-01-01T00:00:00Z",
    ),
    "merge without resolver": (
        {
            "a": load(),
            "m": result(node("merge_cubes", cube1=ref("a"), cube2=ref("a"))),
        },
        r"'m'.*same labels.*`overlap_resolver` such as `mean`",
    ),
    "array for a number": (
        one("reduce_dimension", reducer=only("cumsum", data=DATA), dimension="t"),
        r"'n0'.*one number per pixel, and it returns an array of 3.*`apply_dimension`",
    ),
    "text for a number": (
        one("apply", process=only("constant", x="hello")),
        r"'n0'.*one number per pixel, and it returns str",
    ),
    "number for an array": (
        one("apply", process=only("mean", data=X)),
        r"'n0'.*Node 'only' \(mean\): `data` takes an array, and gets a number per pixel",
    ),
    "pixels for one value": (
        one("reduce_dimension", dimension="bands", reducer=steps(
            which=node("mean", data=DATA),
            out=node("array_element", data=DATA, index=ref("which")))),
        r"Node 'out' \(array_element\): `index` takes one value for all pixels, and gets a number",
    ),
    "cube for a number": (
        {"a": load(), "b": result(node("add", x=ref("a"), y=1))},
        r"'b' \(add\): `x` takes .* and gets a data cube. Call `add` in the callback",
    ),
    "number for a cube": (
        {"a": node("add", x=1, y=2), "b": result(node("ndvi", data=ref("a")))},
        r"'b' \(ndvi\): `data` takes a data cube \(from_node\), and gets 3",
    ),
    "literal for a cube": (
        {"b": result(node("ndvi", data={"type": "raster"}))},
        r"'b' \(ndvi\): `data` takes a data cube",
    ),
    "cube in an array": (
        {"a": load(), "b": result(node("max", data=[ref("a"), 1]))},
        r"'b' \(max\): The data cube of node 'a' cannot be part of an array.*`merge_cubes`",
    ),
    "text that is no CRS, from another node": (
        {
            "a": load(),
            "t": node("text_concat", data=["a", "b"]),
            "b": result(node("resample_spatial", data=ref("a"), projection=ref("t"))),
        },
        r"'b'.*'ab' is no coordinate reference system",
    ),
    "number from another node where text is": (
        {
            "a": load(),
            "n": node("add", x=1, y=2),
            "b": result(node("filter_bands", data=ref("a"), bands=ref("n"))),
        },
        r"'b' \(filter_bands\): `bands` must be an array, not the number 3",
    ),
    "condition that is a cube": (
        {"a": load(), "i": result(node("if", value=ref("a"), accept=ref("a")))},
        r"'i' \(if\): `value` is a data cube.*use `if` inside `apply`",
    ),
    "coordinate that is not finite": (
        one("mask_polygon", mask=polygon((0, 0), (1, float("nan")), (1, 1), (0, 0))),
        r"n0.*coordinates\[0\]\[1\]\[1\].*NaN is not a JSON number",
    ),
    "polygon of two points": (
        one("mask_polygon", mask=polygon((0, 0), (1, 1))),
        r"'n0'.*is no GeoJSON geometry: .*at least 4 coordinates. Valid is for example",
    ),
    "no polygon": (
        one("mask_polygon", mask={"type": "Point", "coordinates": [0, 0]}),
        r"'n0'.*no polygon with an area. Give polygons",
    ),
    "no GeoJSON": (
        one("filter_spatial", geometries={"type": "FeatureCollection", "features": 5}),
        r"'n0'.*`features`, a list; here it is 5",
    ),
    "GeoJSON in an odd CRS": (
        one("mask_polygon", mask={**TRIANGLE, "crs": {"properties": [1]}}),
        r"'n0'.*The `crs` of GeoJSON is .*Leave it out for degrees",
    ),
    "line for an area": (
        one("mask_polygon", mask={"type": "LineString", "coordinates": [[0, 0], [1, 1]]}),
        r"'n0'.*no polygon with an area. Give polygons",
    ),
    "table for a picture": (
        one("aggregate_spatial", reducer=MEAN, geometries=TRIANGLE),
        r"'n0' \(aggregate_spatial\) gives a table, not pixels on a map.*`terrazzo run`",
    ),
    "chunks of nothing": (
        one("apply_neighborhood", process=only("constant", x=1),
            size=[{"dimension": "x", "value": 0, "unit": "px"}]),
        r"'n0'.*chunk along 'x' is less than a pixel",
    ),
    "chunks beyond all": (
        one("apply_neighborhood", process=only("apply_kernel", data=DATA, kernel=[[1]]),
            size=[{"dimension": "x", "value": 10**12, "unit": "px"}]),
        r"'n0'.*1000000000000 along 'x' is more than.*null",
    ),
    "chunks too large": (
        one("apply_neighborhood", process=only("apply_kernel", data=DATA, kernel=[[1]]),
            size=[{"dimension": "x", "value": 10**9, "unit": "px"}]),
        r"Even one pixel does not fit",
    ),
    "number for a chunk": (
        one("apply_neighborhood", process=only("constant", x=1), size=PX),
        r"'n0'.*must return a cube.*returns int",
    ),
    "normals of half a year": (
        chain(
            node("anomaly", period="month", normals=ref("normals")),
            normals=node("filter_labels", data=ref("months"), dimension="t",
                         condition=only("eq", x={"from_parameter": "value"}, y="2020-01")),
            months=node("aggregate_temporal_period", data=ref("load"), period="month",
                        reducer=MEAN),
        ),
        r"'n0' \(anomaly\).*names no month.*aggregate_temporal_period",
    ),
    "clouds without green": (
        one("cloud_detection", method=None),
        r"'n0' \(cloud_detection\).*green, red.*Bands here: red, nir.*rename_labels",
    ),
    "clouds of another method": (
        one("cloud_detection", method="Fmask"), r"'n0'.*no method 'Fmask'.*Set `method` to null",
    ),
    "polygons that overlap": (
        one("apply_polygon", process=only("constant", x=1), geometries=ref("here"))
        | {"here": node("load_geojson", data={
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {}, "geometry": TRIANGLE}] * 2})},
        r"'n0' \(apply_polygon\).*Give polygons that do not overlap",
    ),
    "window of nothing": (
        one("aggregate_spatial_window", size=[0, 1], reducer=MEAN), r"n0.*size\[0\].*1",
    ),
    "flat to what is there": (
        one("flatten_dimensions", dimensions=["t"], target_dimension="x"), r"'n0'.*'x'",
    ),
    "curve of nothing": (
        chain({"process_id": "predict_curve", "arguments": {
            "parameters": ref("load"), "function": only("constant", x=1), "dimension": "when",
            "labels": [1]}}),
        r"'n0'.*no dimension 'when'.*rename_dimension",
    ),
    "dates of a cube without": (
        chain(node("resample_cube_temporal", target=ref("still")),
              still=node("reduce_dimension", data=ref("load"), dimension="t", reducer=MEAN)),
        r"'n0'.*no temporal dimension of the same name.*rename_dimension",
    ),
    "trimmed to nothing": (
        chain(node("mask_polygon", mask=TRIANGLE, inside=True),
              node("mask_polygon", mask=TRIANGLE), node("trim_cube")),
        r"'n2' \(trim_cube\) leaves no pixel of its cube",
    ),
    "code that fails": (
        one("run_udf", runtime="Python", udf="def apply_datacube(cube, context):\n    1 / 0\n"),
        r"'n0' \(run_udf\).*ZeroDivisionError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_bad_graphs_are_refused_with_a_message_that_helps(case):
    graph, wording = REFUSED[case]

    with pytest.raises(TerrazzoError) as refused:
        run(graph)

    assert re.search(wording, str(refused.value), re.DOTALL), str(refused.value)
    assert refused.value.status < 500


ACCEPTED = {
    "division by zero": one("apply", process=only("divide", x=X, y=0)),
    "nothing but no-data": one("apply", process=only("constant", x=None)),
    "one truth value": one("apply", process=only("constant", x=True)),
    "no date in the period": one("filter_temporal", extent=["1999-01-01", "2000-01-01"]),
    "no date in an interval": one(
        "aggregate_temporal", intervals=[["1999-01-01", "2000-01-01"]], reducer=MEAN
    ),
    "overlapping intervals": one(
        "aggregate_temporal", intervals=[INTERVAL, ["2020-01-02", None]], reducer=MEAN
    ),
    "bow tie": one(
        "mask_polygon",
        mask=polygon((15, 45.15), (15.01, 45.14), (15.01, 45.15), (15, 45.14), (15, 45.15)),
    ),
    "no band of that name": one("filter_bands", bands=["blu"]),
    "table in the midst": {
        "a": load(),
        "z": node("aggregate_spatial", data=ref("a"), geometries=TRIANGLE, reducer=MEAN),
        "b": result(node("apply", data=ref("a"), process=only("constant", x=1), context=ref("z"))),
    },
    "polygons of a table": {
        "a": load(),
        "z": node("aggregate_spatial", data=ref("a"), geometries=TRIANGLE, reducer=MEAN),
        "b": result(node("mask_polygon", data=ref("a"), mask=ref("z"))),
    },
    "numbers too large for float32": one(
        "apply_kernel", kernel=[[1e300]], factor=1e300, replace_invalid=1e300
    ),
}


@pytest.mark.parametrize("case", sorted(ACCEPTED))
def test_odd_graphs_give_pixels(case):
    assert run(ACCEPTED[case]).values.shape[-2:] == (4, 4)


@pytest.mark.parametrize("name", RASTERS)
def test_the_graphs_that_are_spoilt_below_are_valid(name):
    assert run(VALID[name]).values.shape[-2:] == (4, 4)


@pytest.mark.parametrize("name", sorted(VALID))
def test_random_mistakes_are_refused_quickly_or_do_no_harm(name):
    for seed in range(MISTAKES):
        random = Random(f"{name} {seed}")
        graph = mutated(VALID[name], random, mistakes=random.choice((1, 1, 2, 4)))
        started = time.process_time()

        with suppress(TerrazzoError):
            run(graph)

        assert time.process_time() - started < SECONDS, (seed, graph)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "graph",
    [
        one("filter_bands", bands=nested(5000)),
        one("apply", process=NDVI, context=nested(90)),
        {f"n{number}": node("add", x=ref(f"n{number + 1}"), y=1) for number in range(10_000)},
        one("filter_spatial", geometries={
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {},
                          "geometry": polygon((c, r), (c + 0.1, r), (c, r + 1), (c, r))}
                         for c in np.arange(0, 10, 0.1).tolist() for r in range(40)],
        }),
    ],
    ids=["deep list", "deep context", "chain to nowhere", "GeoJSON"],
)  # fmt: skip
def test_giant_documents_are_refused_in_time(graph):
    started = time.process_time()

    with pytest.raises(TerrazzoError):
        run(graph)

    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize(
    "graph",
    [
        one("filter_bands", bands=[*(f"b{number}" for number in range(300_000)), "red"]),
        {
            **{f"n{number}": load() for number in range(10_000)},
            "end": result(node("filter_bands", data=ref("n9999"), bands=["red"])),
        },
    ],
    ids=["long list", "10 000 loads"],
)
def test_giant_documents_that_are_right_take_little_time(graph):
    started = time.process_time()

    cube = run(graph)

    assert cube.dimension("bands").labels == ("red",)
    assert time.process_time() - started < SECONDS
