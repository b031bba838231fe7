"""Functions of a notebook: their text stands on its own, and does there what it does here."""

from __future__ import annotations

import json
import linecache
import math
import subprocess
import sys
from fractions import Fraction
from functools import partial
from math import sqrt as root
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest
import scipy.ndimage
import shapely
import xarray as xr

import terrazzo
from terrazzo.cube import BandFacts, Cube, Dimension, Kind
from terrazzo.errors import ArgumentInvalid, UdfFailed, UdfInvalid, UdfRefused
from terrazzo.notebook import UserFunction
from terrazzo.sandbox import Limits, Mode, UdfRules
from terrazzo.sandbox.layers import this_machine

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 0.0001
TABLE = np.array([[0, 2.5], [np.nan, 4]], np.float32)
CLASSES = {"water": (1, 2), "snow": (3,), "limit": math.inf}
HALF = Fraction(1, 2)
EDGE = np.float32(0.25)
closable = pytest.mark.skipif(bool(this_machine().missing), reason=this_machine().missing)
PIXELS = np.arange(2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5)


def contrast(a: Any, b: Any) -> Any:
    return (b - a) / (a + b + 1)


def even(number: int) -> bool:
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    return number != 0 and even(number - 1)


class Threshold:
    """A class of the user."""

    def __init__(self, least: float) -> None:
        self.least = least * SCALE

    def __call__(self, values: Any) -> Any:
        return values > self.least


@numba.njit
def clipped(values: np.ndarray, least: float) -> np.ndarray:
    return np.maximum(values, least)


@terrazzo.udf
def ndvi(red: np.ndarray, nir: np.ndarray, k: float = 1.0) -> np.ndarray:
    """Normalised difference."""
    return k * contrast(red, nir)


@terrazzo.udf
def smooth(cube: xr.DataArray, context: dict[str, Any]) -> xr.DataArray:
    """Smooth along x and y."""
    size = context.get("size", 3)
    return xr.apply_ufunc(scipy.ndimage.uniform_filter, cube.fillna(0), kwargs={"size": size})


def run_alone(source: str, line: str) -> Any:
    """Return what a line gives after the source, in an interpreter that knows nothing of us."""
    code = f"{source}\nimport json\nprint(json.dumps({line}))"
    return json.loads(subprocess.check_output([sys.executable, "-I", "-c", code], text=True))


def test_text_holds_all_that_the_function_needs() -> None:
    @terrazzo.udf
    def everything(cube, context) -> Any:
        values = (
            clipped(cube, EDGE) + len(context) * SCALE + TABLE[1, 1] + root(CLASSES["water"][1])
        )
        return Threshold(2)(values), scipy.ndimage.label(values)[1], even(4), json.dumps({})

    line = "[x.tolist() if hasattr(x, 'tolist') else x for x in everything(numpy.eye(2), {})]"
    values = np.maximum(np.eye(2), EDGE) * SCALE + 4 + math.sqrt(2)

    assert run_alone(everything.source, line) == [
        (values > 2 * SCALE).tolist(),
        1,
        True,
        "{}",
    ]
    assert "from math import sqrt as root" in everything.source
    assert "terrazzo" not in everything.source


def test_plain_call_is_the_function_itself() -> None:
    assert ndvi(np.float64(1), np.float64(3)) == 2 / 5
    assert ndvi(1.0, 3.0, k=5) == 2
    assert ndvi.__doc__ == "Normalised difference."
    assert isinstance(ndvi, UserFunction)


def test_closures_of_plain_values_are_written_down() -> None:
    factor, inner = 3, contrast

    @terrazzo.udf
    def made(cube) -> Any:
        return inner(cube, factor)

    assert run_alone(made.source, "made(1)") == contrast(1, 3)


@closable
def test_bands_come_by_name_or_number() -> None:
    by_number = terrazzo.udf(takes="bands")(lambda_free)

    by_name = ndvi.test(PIXELS, bands=("red", "nir"))

    np.testing.assert_array_equal(by_name, contrast(PIXELS[0], PIXELS[1]))
    np.testing.assert_array_equal(by_number.test(PIXELS), PIXELS[1] - PIXELS[0])


def lambda_free(band0, band1):
    return band1 - band0


@closable
@pytest.mark.parametrize("sandboxed", [True, False])
def test_samples_come_back_as_they_were(sandboxed: bool) -> None:
    array = xr.DataArray(
        PIXELS,
        dims=("bands", "y", "x"),
        coords={"bands": ["B04", "B08"], "y": [40.0, 30, 20, 10], "x": [0.0, 10, 20, 30, 40]},
    )
    expected = scipy.ndimage.uniform_filter(PIXELS, 3)

    told = smooth.test(array, sandboxed=sandboxed)
    bare = smooth.test(PIXELS, context={"size": 3}, sandboxed=sandboxed)

    xr.testing.assert_equal(told, array.copy(data=expected))
    np.testing.assert_array_equal(bare, expected)


@closable
def test_cubes_come_back_as_cubes() -> None:
    dimensions = (
        Dimension("bands", Kind.BANDS, ("red", "nir"), (BandFacts(), BandFacts())),
        Dimension("y", Kind.SPATIAL, ()),
        Dimension("x", Kind.SPATIAL, ()),
    )
    valid = PIXELS != 7
    cube = Cube(PIXELS, valid, dimensions)

    @terrazzo.udf
    def more(cube) -> Any:
        return cube + 1

    made = more.test(cube)

    np.testing.assert_array_equal(made.valid, valid)
    np.testing.assert_array_equal(made.values[valid], PIXELS[valid] + 1)
    assert made.dimensions == dimensions


@closable
def test_series_and_udf_data_may_be_taken() -> None:
    client = pytest.importorskip("openeo.udf")

    @terrazzo.udf
    def filled(series) -> Any:
        return series.interpolate()

    @terrazzo.udf
    def doubled(udf_data) -> Any:
        [cube] = udf_data.get_datacube_list()
        udf_data.set_datacube_list([type(cube)(cube.get_array() * udf_data.user_context["by"])])

    dates = filled.test(np.array([1, np.nan, 3], np.float32))
    array = xr.DataArray(PIXELS, dims=("bands", "y", "x"), coords={"bands": ["a", "b"]})
    data = client.UdfData(datacube_list=[client.XarrayDataCube(array)], user_context={"by": 2})
    doubled.test(data)

    np.testing.assert_array_equal(dates, [1, 2, 3])
    xr.testing.assert_equal(data.datacube_list[0].array, array * 2)


@closable
def test_what_is_printed_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    @terrazzo.udf
    def talking(cube) -> Any:
        print("mean", float(cube.mean()))  # noqa: T201 - what it is for
        return cube

    for sandboxed in (True, False):
        talking.test(np.ones((2, 2), np.float32), sandboxed=sandboxed)

    assert capsys.readouterr().out.splitlines() == ["info: mean 1.0", "mean 1.0"]


@closable
def test_it_fails_here_as_on_a_server() -> None:
    @terrazzo.udf
    def broken(cube) -> Any:
        return cube.nothing

    @terrazzo.udf
    def prying(cube) -> Any:
        return cube + len(open("/etc/passwd").read())  # noqa: PTH123

    with pytest.raises(UdfFailed, match=r"(?s)no attribute 'nothing'.*in broken.*cube.nothing"):
        broken.test(PIXELS)
    with pytest.raises(AttributeError):
        broken.test(PIXELS, sandboxed=False)
    with pytest.raises(UdfFailed, match=r"PermissionError|FileNotFoundError"):
        prying.test(PIXELS)


def test_operator_rules_hold_for_samples_too() -> None:
    with pytest.raises(UdfRefused, match=r"switched off.*sandboxed=False"):
        smooth.test(PIXELS, rules=UdfRules(Mode.OFF, Limits()))


@pytest.mark.parametrize(
    ("sample", "bands", "words"),
    [
        (np.zeros((1, 1, 1, 1, 1)), (), r"\(t, bands, y, x\)"),
        (np.array(["a"]), (), "array of numbers"),
        (PIXELS, ("red",), "has 2 bands, and `bands` names 1"),
    ],
)
def test_samples_that_are_none_are_refused(sample: Any, bands: Any, words: str) -> None:
    with pytest.raises(ArgumentInvalid, match=words):
        smooth.test(sample, bands=bands)


def test_header_says_what_was_declared() -> None:
    @terrazzo.udf(
        dependencies=["scikit-image>=0.2"],
        environment="ml",
        result={"dtype": "float32", "dimensions": ["t"], "labels": {"t": ["a"]}},
    )
    def edges(cube) -> Any:
        return cube

    assert edges.source.startswith(
        '# /// script\n# dependencies = ["scikit-image>=0.2"]\n# [tool.terrazzo]\n'
        '# environment = "ml"\n# [tool.terrazzo.result]\n# dtype = "float32"\n'
        '# dimensions = ["t"]\n# [tool.terrazzo.result.labels]\n# "t" = ["a"]\n# ///\n'
    )


def refusals() -> dict[str, tuple[Callable[..., Any], str]]:
    stream, unset = sys.stdout, partial(contrast, 1)

    def uses_stream(cube) -> Any:
        return stream.write(cube)

    def uses_partial(cube) -> Any:
        return unset(cube)

    def uses_nothing(cube) -> Any:
        return cube + never_defined  # noqa: F821

    def uses_object(cube) -> Any:
        return cube * HALF

    def uses_library(cube) -> Any:
        return shapely.area(cube)

    def uses_ours(cube) -> Any:
        return UdfRules(cube)

    names: dict[str, Any] = {}
    exec("def typed(cube): return cube", names)  # noqa: S102 - as at a prompt
    return {
        "stream": (uses_stream, "'stream', a .* that has no source"),
        "partial": (uses_partial, "'unset', a partial that has no source"),
        "nothing": (uses_nothing, "'never_defined', which is not defined"),
        "object": (uses_object, "'HALF', a Fraction that has no source"),
        "library": (uses_library, "'shapely', which is not there where UDFs run"),
        "ours": (uses_ours, "of the module 'terrazzo.sandbox"),
        "typed": (names["typed"], "`typed` is not known"),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_cannot_be_written_down_is_refused(name: str) -> None:
    function, words = refusals()[name]

    with pytest.raises(UdfInvalid, match=words):
        terrazzo.udf(takes="cube")(function).source  # noqa: B018 - it is made when asked for


@pytest.mark.parametrize("function", [lambda cube: cube, len, partial(contrast, 1)])
def test_what_has_no_name_or_no_source_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UdfInvalid, match="with `def`"):
        terrazzo.udf(function)


def test_wrong_way_to_take_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="bands, cube, series, udf_data, not 'tiles'"):
        terrazzo.udf(takes="tiles")(contrast)  # type: ignore[call-overload]


def test_cells_of_a_notebook_are_followed() -> None:
    cells = [
        "import numpy as np\nfrom scipy.ndimage import uniform_filter as mean",
        "class Half:\n    by = 2\n\nlimit = 3\n",
        "def helper(x):\n    return mean(np.asarray(x, float), 1) / Half.by + limit\n",
        "import terrazzo\n@terrazzo.udf\ndef mine(cube):\n    return helper(cube)\n",
    ]
    names: dict[str, Any] = {"__name__": "__main__", "In": cells}
    for number, cell in enumerate(cells):
        file = f"<cell {number}>"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, "exec"), names)  # noqa: S102 - as a notebook does

    text = names["mine"].source

    assert run_alone(text, "mine([2.0, 4.0]).tolist()") == [4.0, 5.0]
    assert "from scipy.ndimage import uniform_filter as mean" in text


def test_client_takes_it_for_a_callback() -> None:
    openeo = pytest.importorskip("openeo")
    cube = openeo.DataCube.load_collection("s2", connection=None, fetch_metadata=False)

    graphs = [
        cube.apply(process=smooth),
        cube.apply_dimension(process=smooth, dimension="t"),
        cube.reduce_dimension(reducer=ndvi, dimension="bands"),
        cube.apply_neighborhood(process=smooth.udf(context={"size": 5}), size=[]),
    ]

    for graph, sent in zip(graphs, (smooth, smooth, ndvi, smooth), strict=True):
        outer = list(graph.flat_graph().values())[-1]["arguments"]
        callback = outer.get("process") or outer["reducer"]
        [node] = callback["process_graph"].values()
        assert node["process_id"] == "run_udf"
        assert node["arguments"]["udf"] == sent.source
        assert node["arguments"]["runtime"] == "Python"
        assert list(node["arguments"]["data"]) == ["from_parameter"]
    assert node["arguments"]["context"] == {"size": 5}


def test_importing_terrazzo_loads_nothing_of_it() -> None:
    code = "import terrazzo, sys; print([n for n in sys.modules if 'notebook' in n])"

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
