"""`run_udf`: every form of code in every place where it may stand, with the pixels of NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import xarray as xr

from terrazzo import logs
from terrazzo.cube import Cube
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.errors import (
    ArgumentInvalid,
    FileNotFound,
    InvalidRuntime,
    InvalidVersion,
    UdfFailed,
    UdfInvalid,
    UdfRefused,
)
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.sandbox import Mode, UdfRules
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import collections
from terrazzo.testing.synthetic import SyntheticOpener

DATA, X = {"from_parameter": "data"}, {"from_parameter": "x"}
LOAD = {
    "process_id": "load_collection",
    "arguments": {"id": "fine", "spatial_extent": None, "temporal_extent": None},
}
DOUBLE = """
import xarray

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return cube * 2
"""


def udf(code: str, data: Any = DATA, context: Any = None, **more: Any) -> dict[str, Any]:
    """Return a process graph of one call."""
    arguments = {"data": data, "udf": code, "runtime": "Python"} | more
    if context is not None:
        arguments["context"] = context
    return {"udf": {"process_id": "run_udf", "arguments": arguments, "result": True}}


def planned(process: str, opener: Any = None, /, **arguments: Any) -> Any:
    """Plan one process on the collection `fine`."""
    nodes = {
        "load": LOAD,
        "it": {
            "process_id": process,
            "arguments": {"data": {"from_node": "load"}, **arguments},
            "result": True,
        },
    }
    return make_plan(infer(parse(nodes, specs=SPECS), opener or collections()))


def computed(process: str, /, **arguments: Any) -> Cube:
    plan = planned(process, **arguments)
    return evaluate(plan, plan.window)


def loaded() -> Cube:
    plan = make_plan(infer(parse({"load": LOAD | {"result": True}}, specs=SPECS), collections()))
    return evaluate(plan, plan.window)


def numbers(cube: Cube) -> np.ndarray:
    """Return pixels as a UDF gets them."""
    return np.where(cube.valid, cube.values.astype(np.float32), np.float32(np.nan))


def assert_numbers(cube: Cube, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(cube.valid, ~np.isnan(expected))
    np.testing.assert_array_equal(cube.values[cube.valid], expected[~np.isnan(expected)])


def test_datacube_is_computed_anew_in_apply() -> None:
    result = computed("apply", process={"process_graph": udf(DOUBLE, X)})

    assert_numbers(result, numbers(loaded()) * 2)
    assert result.dtype == np.float32
    assert result.dimensions == loaded().dimensions


def test_datacube_reduces_a_dimension_by_name() -> None:
    code = "def apply_datacube(cube, context):\n    return cube.max(dim='t')\n"

    result = computed("reduce_dimension", dimension="t", reducer={"process_graph": udf(code)})

    with np.errstate(all="ignore"):
        assert_numbers(result, np.fmax.reduce(numbers(loaded()), axis=0))
    assert result.names == ("bands", "y", "x")


def test_dimensions_have_openeos_order_whichever_is_reduced() -> None:
    code = (
        "def apply_datacube(cube, context):\n"
        "    assert cube.dims == ('t', 'bands', 'y', 'x'), cube.dims\n"
        "    assert list(cube.coords['bands'].values) == ['red', 'nir']\n"
        "    assert str(cube.coords['t'].dtype).startswith('datetime64')\n"
        "    return cube.sel(bands='nir', drop=True) - cube.sel(bands='red', drop=True)\n"
    )

    result = computed("reduce_dimension", dimension="bands", reducer={"process_graph": udf(code)})

    given = numbers(loaded())
    assert_numbers(result, given[:, 1] - given[:, 0])


def test_apply_dimension_may_change_the_number_of_values() -> None:
    code = "def apply_datacube(cube, context):\n    return cube.isel(t=slice(1, None))\n"

    result = computed("apply_dimension", dimension="t", process={"process_graph": udf(code)})

    assert_numbers(result, numbers(loaded())[1:])


def test_neighbourhood_sees_its_halo() -> None:
    code = """
import numpy as np
import scipy.ndimage

def apply_datacube(cube, context):
    filled = np.nan_to_num(cube.values)
    return cube.copy(data=scipy.ndimage.uniform_filter(filled, (1, 1, 3, 3), mode="constant"))
"""
    size = [{"dimension": d, "value": 16, "unit": "px"} for d in ("x", "y")]
    halo = [{"dimension": d, "value": 1, "unit": "px"} for d in ("x", "y")]

    plan = planned(
        "apply_neighborhood", process={"process_graph": udf(code)}, size=size, overlap=halo
    )

    padded = np.pad(np.nan_to_num(numbers(loaded())), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(-2, -1))
    result = evaluate(plan, plan.window)
    np.testing.assert_allclose(result.values, windows.mean(axis=(-2, -1)), rtol=1e-4, atol=1e-2)
    for window in plan.window.blocks(13):
        assert_same_pixels(evaluate(plan, window), result.crop(window))


def test_periods_are_reduced_one_by_one_and_empty_ones_have_no_data() -> None:
    code = "def apply_datacube(cube, context):\n    return cube.sum(dim='t', min_count=1)\n"

    result = computed(
        "aggregate_temporal_period", period="month", reducer={"process_graph": udf(code)}
    )

    given = numbers(loaded())
    assert result.dimensions[0].labels == ("2020-01", "2020-02", "2020-03")
    both = ~np.isnan(given[:2]).all(axis=0)
    np.testing.assert_array_equal(result.valid[0], both)
    np.testing.assert_array_equal(result.values[0][both], np.nansum(given[:2], axis=0)[both])
    assert not result.valid[1].any()
    assert_numbers(Cube(result.values[2], result.valid[2], ()), given[2])


def test_cube_itself_may_get_other_bands() -> None:
    code = """
import xarray

def apply_datacube(cube, context):
    red, nir = cube.sel(bands="red", drop=True), cube.sel(bands="nir", drop=True)
    made = xarray.concat([nir + red, nir - red], dim="bands")
    return made.assign_coords(bands=["sum", "rise"]).transpose("t", "bands", "y", "x")
"""

    result = computed("run_udf", udf=code, runtime="python")

    given = numbers(loaded())
    assert result.dimension("bands").labels == ("sum", "rise")
    assert result.dimension("t") == loaded().dimension("t")
    assert_numbers(result, np.stack([given[:, 1] + given[:, 0], given[:, 1] - given[:, 0]], 1))


def test_cube_tells_where_its_pixels_lie() -> None:
    code = (
        "def apply_datacube(cube, context):\n    return cube * 0 + cube.x + 10_000_000 * cube.y\n"
    )

    plan = planned("run_udf", udf=code, runtime="Python")

    whole = evaluate(plan, plan.window)
    x, y = np.meshgrid(plan.grid.xs(plan.window), plan.grid.ys(plan.window))
    expected = np.broadcast_to(x + 10_000_000 * y, whole.values.shape)
    np.testing.assert_array_equal(whole.values[whole.valid], expected[whole.valid])
    for window in plan.window.blocks(19):
        assert_same_pixels(evaluate(plan, window), whole.crop(window))


def test_timeseries_is_called_with_every_pixel() -> None:
    code = """
import pandas as pd

def apply_timeseries(series: pd.Series, context: dict) -> pd.Series:
    assert series.index[0] == pd.Timestamp("2020-01-05T10:00:00")
    return series.interpolate(limit_direction="both") + context["more"]
"""

    plan = planned(
        "apply_dimension",
        dimension="t",
        process={"process_graph": udf(code, context={"more": 5})},
    )
    window = next(iter(plan.window.blocks(9)))

    result = evaluate(plan, window)

    known = loaded().crop(window).valid
    given = numbers(loaded().crop(window))
    np.testing.assert_array_equal(result.values[known], given[known] + 5)
    assert (result.valid == known.any(axis=0)).all()


def test_udf_data_is_changed_in_place() -> None:
    code = """
from openeo.udf import UdfData, XarrayDataCube

def my_own(data: UdfData):
    [cube] = data.get_datacube_list()
    data.set_datacube_list([XarrayDataCube(cube.get_array() + data.user_context["more"])])
"""

    result = computed("apply", process={"process_graph": udf(code, X, {"more": 1})})

    assert_numbers(result, numbers(loaded()) + 1)


def test_wrapped_datacube_of_the_client_comes_and_goes() -> None:
    code = """
from openeo.udf import XarrayDataCube, inspect

def apply_datacube(cube: XarrayDataCube, context: dict) -> XarrayDataCube:
    return XarrayDataCube(-cube.get_array())
"""

    result = computed("apply", process={"process_graph": udf(code, X)})

    assert_numbers(result, -numbers(loaded()))


EXAMPLES = {
    "rescale": """
from openeo.udf import XarrayDataCube
from openeo.udf.debug import inspect

def apply_datacube(cube: XarrayDataCube, context: dict) -> XarrayDataCube:
    array = cube.get_array()
    inspect(data=[array.shape], message="shape")
    array.values = 0.0001 * array.values
    return cube
""",
    "smooth": """
import xarray
from scipy.signal import savgol_filter
from openeo.metadata import CollectionMetadata

def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:
    return metadata

def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    filled = cube.interpolate_na(dim="t", fill_value="extrapolate").fillna(0)
    values = savgol_filter(filled.values, 3, 1, axis=0)
    return xarray.DataArray(values, dims=cube.dims, coords=cube.coords)
""",
    "fill": """
import pandas as pd

def apply_timeseries(series: pd.Series, context: dict) -> pd.Series:
    return pd.Series(series).interpolate(limit_direction="both")
""",
    "generic": """
from openeo.udf import UdfData, XarrayDataCube

def transform(data: UdfData) -> UdfData:
    cubes = [XarrayDataCube(abs(cube.get_array() - 100)) for cube in data.get_datacube_list()]
    data.set_datacube_list(cubes)
    return data
""",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_codes_give_what_the_openeo_client_computes_with_them(name: str) -> None:
    client = pytest.importorskip("openeo.udf")
    code = EXAMPLES[name]
    plan = planned("run_udf", udf=code, runtime="Python")
    window = next(iter(plan.window.blocks(12)))
    given = loaded().crop(window)

    result = evaluate(plan, window)

    labels = {"t": np.array([t.rstrip("Z") for t in given.dimensions[0].labels], "M8[ns]")}
    array = xr.DataArray(numbers(given), dims=given.names, coords=labels)
    expected = client.execute_local_udf(code, array).get_datacube_list()[0].get_array().values
    np.testing.assert_array_equal(result.valid, ~np.isnan(expected))
    np.testing.assert_allclose(
        result.values[result.valid], expected[result.valid], rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize("image", ["band1 - band0", "nir - red"])
def test_script_finds_bands_by_number_and_by_name(image: str) -> None:
    code = f"img = {image}\n"

    result = computed("reduce_dimension", dimension="bands", reducer={"process_graph": udf(code)})

    given = numbers(loaded())
    assert_numbers(result, given[:, 1] - given[:, 0])


def test_script_may_make_several_bands() -> None:
    code = "img = np.stack([band0, band1, band0 * 0 + context['third']])\n"

    result = computed("run_udf", udf=code, runtime="Python", context={"third": 3})

    given = numbers(loaded())
    assert_numbers(result, np.stack([given[:, 0], given[:, 1], given[:, 0] * 0 + 3], axis=1))
    assert result.dimension("bands").labels == (0, 1, 2)


def test_context_of_the_callback_reaches_the_code() -> None:
    code = "def apply_datacube(cube, context):\n    return cube + context['more']\n"
    process = udf(code, X)
    process["udf"]["arguments"]["context"] = {"from_parameter": "context"}

    result = computed("apply", process={"process_graph": process}, context={"more": 7})

    assert_numbers(result, numbers(loaded()) + 7)


def test_code_and_processes_stand_side_by_side_in_a_callback() -> None:
    process = {
        "twice": {
            "process_id": "run_udf",
            "arguments": {"data": X, "udf": DOUBLE, "runtime": "Python"},
        },
        "plus": {
            "process_id": "add",
            "arguments": {"x": {"from_node": "twice"}, "y": 1},
            "result": True,
        },
    }

    result = computed("apply", process={"process_graph": process})

    assert_numbers(result, numbers(loaded()) * 2 + 1)


def test_truth_values_come_back_as_such() -> None:
    code = "def apply_datacube(cube, context):\n    return cube > 100\n"

    plan = planned("apply", process={"process_graph": udf(code, X)})

    assert plan.probe.dtype == np.bool_  # known before a pixel is read
    result = evaluate(plan, plan.window)
    np.testing.assert_array_equal(result.values, numbers(loaded()) > 100)
    assert result.valid.all()


def test_plain_numbers_and_arrays_are_computed_with() -> None:
    code = "def apply_datacube(cube, context):\n    return cube.sum()\n"

    def value(data: Any) -> Any:
        return infer(parse(udf(code, data), specs=SPECS), collections()).cube("udf").result

    assert value([1, 2, 4.5]) == 7.5
    assert value(3) == 3
    assert value(None) == 0  # xarray's sum of nothing


def test_blocks_do_not_matter_with_code_in_the_chain() -> None:
    nodes = {
        "load": LOAD,
        "smooth": {
            "process_id": "apply_kernel",
            "arguments": {"data": {"from_node": "load"}, "kernel": [[1, 1, 1]], "factor": 1 / 3},
        },
        "code": {
            "process_id": "apply",
            "arguments": {
                "data": {"from_node": "smooth"},
                "process": {"process_graph": udf(DOUBLE, X)},
            },
        },
        "mean": {
            "process_id": "reduce_dimension",
            "arguments": {
                "data": {"from_node": "code"},
                "dimension": "t",
                "reducer": {
                    "process_graph": {
                        "m": {"process_id": "mean", "arguments": {"data": DATA}, "result": True}
                    }
                },
            },
            "result": True,
        },
    }
    plan = make_plan(infer(parse(nodes, specs=SPECS), collections()))

    whole = evaluate(plan, plan.window)

    for edge in (1000, 23):
        for window in plan.window.blocks(edge):
            assert_same_pixels(evaluate(plan, window), whole.crop(window))


def test_code_sees_all_labels_though_few_are_wanted() -> None:
    code = "def apply_datacube(cube, context):\n    return cube - cube.sel(bands='red')\n"
    nodes = {
        "load": LOAD,
        "code": {
            "process_id": "apply",
            "arguments": {
                "data": {"from_node": "load"},
                "process": {"process_graph": udf(code, X)},
            },
        },
        "nir": {
            "process_id": "filter_bands",
            "arguments": {"data": {"from_node": "code"}, "bands": ["nir"]},
            "result": True,
        },
    }
    plan = make_plan(infer(parse(nodes, specs=SPECS), collections()))

    result = evaluate(plan, plan.window)

    given = numbers(loaded())
    assert_numbers(result, given[:, 1:] - given[:, :1])


def test_what_code_prints_and_logs_is_told() -> None:
    code = """
import logging
from openeo.udf import inspect

def apply_datacube(cube, context):
    print("the shape", cube.shape)
    logging.getLogger(__name__).warning("be careful")
    inspect(data={"n": 3}, message="look", code="Mine", level="debug")
    return cube
"""
    plan = planned("apply", process={"process_graph": udf(code, X)})

    with logs.collected() as log:
        evaluate(plan, plan.window)

    told = [(e.level, e.message, e.code, e.data) for e in log.all()]
    shape = loaded().values.shape
    assert told == [
        ("info", f"the shape {shape}", "UDF", None),
        ("warning", "be careful", "UDF", None),
        ("debug", "look", "Mine", {"n": 3}),
    ]


def test_errors_name_the_line_of_the_user() -> None:
    code = "def apply_datacube(cube, context):\n    wrong = 1 / 0\n    return cube\n"

    with pytest.raises(UdfFailed, match=r"ZeroDivisionError(.|\n)*line 2, in apply_datacube") as no:
        planned("apply", process={"process_graph": udf(code, X)})

    assert "wrong = 1 / 0" in str(no.value)
    assert "'udf' (run_udf)" in str(no.value)


def test_syntax_errors_name_the_line() -> None:
    with pytest.raises(UdfFailed, match="line 2"):
        planned("apply", process={"process_graph": udf("x = 1\ndef (:\n", X)})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\n", "Define one of them"),
        ("def apply_datacube(c, context):\n    return 5\n", "must return an xarray.DataArray"),
        ("def apply_datacube(c, context):\n    return c.mean('x')\n", "must keep the pixels"),
        ("def apply_datacube(c, context):\n    return c.isel(x=[0])\n", "must keep the pixels"),
        ("def apply_datacube(c, context):\n    return c.isel(t=0)\n", "dimensions"),
        ("def apply_datacube(c, context):\n    return c.isel(t=[0])\n", "keep the 3"),
        ("def apply_datacube(c, context):\n    return c.astype(str)\n", "must be of numbers"),
        ("def apply_datacube(c, context):\n    return c.astype(object)\n", "must be of numbers"),
        ("def apply_datacube(c, context):\n    return c * 1j\n", "must be of numbers"),
        ("def apply_datacube(c, context):\n    raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_pixel_is_read(code: str, words: str) -> None:
    with pytest.raises(UdfFailed, match=words):
        planned("apply", process={"process_graph": udf(code, X)})


def test_type_that_depends_on_pixels_is_refused() -> None:
    code = """
def apply_datacube(cube, context):
    return cube if cube.max() > 1 else cube > 0
"""
    plan = planned("apply", process={"process_graph": udf(code, X)})

    with pytest.raises(UdfFailed, match=r"returns float32 here, .* bool"):
        evaluate(plan, plan.window)


def test_runtimes_and_versions_that_there_are_not_are_refused() -> None:
    def tried(**arguments: Any) -> None:
        planned("apply", process={"process_graph": udf(DOUBLE, X, **arguments)})

    tried(version="3")
    with pytest.raises(InvalidRuntime, match=r"'Pythn'.*Did you mean 'Python'"):
        tried(runtime="Pythn")
    with pytest.raises(InvalidVersion, match=r"'2\.7'"):
        tried(version="2.7")


@pytest.mark.parametrize("where", ["https://example.org/udf.py", "udfs/mine.py"])
def test_code_elsewhere_cannot_be_read(where: str) -> None:
    with pytest.raises(FileNotFound, match="put the code itself"):
        planned("apply", process={"process_graph": udf(where, X)})


def test_dependencies_are_checked_before_anything_runs() -> None:
    header = '# /// script\n# dependencies = ["{}"]\n# ///\n' + DOUBLE

    planned("apply", process={"process_graph": udf(header.format("numpy>=1.20"), X)})
    for wanted, words in (("torch", "'torch', which is not here"), ("numpy<1", "is installed")):
        with pytest.raises(UdfInvalid, match=words):
            planned("apply", process={"process_graph": udf(header.format(wanted), X)})


def test_context_is_json() -> None:
    process = udf(DOUBLE, X)
    process["udf"]["arguments"]["context"] = {"pixels": X}

    with pytest.raises(ArgumentInvalid, match="`context` of a UDF is JSON values"):
        planned("apply", process={"process_graph": process})


def test_operator_may_switch_code_off() -> None:
    @dataclass(frozen=True)
    class Closed(SyntheticOpener):
        udf: UdfRules = field(default_factory=lambda: UdfRules(Mode.OFF))

    with pytest.raises(UdfRefused, match="switched off"):
        planned("apply", Closed(collections().sources), process={"process_graph": udf(DOUBLE, X)})
