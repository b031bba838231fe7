"""What a result is like: declared in a header or by `apply_metadata`, or seen; then enforced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from terrazzo.errors import UdfFailed, UdfInvalid
from terrazzo.sandbox import Axis, Block, Limits, Sandbox, UdfRules
from terrazzo.sandbox.header import Declared, declared_result
from terrazzo.sandbox.layers import this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(this_machine().missing), reason=this_machine().missing)
AXES = (
    Axis("t", "temporal", ("2020-01-05T10:00:00Z", "2020-02-01")),
    Axis("bands", "bands", ("red", "nir")),
    Axis("y", "spatial", None, (500.0, 2, -10.0)),
    Axis("x", "spatial", None, (100.0, 3, 10.0)),
)
VALUES = np.arange(2 * 2 * 3 * 5, dtype=np.float32).reshape(2, 2, 3, 5)
NOTHING = VALUES[..., :0, :0]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(UdfRules(limits=Limits(workers=2)))
    yield made
    made.close()


def headed(lines: str, code: str) -> str:
    """Return code with a table `[tool.terrazzo.result]`."""
    inner = "".join(f"# {line}\n" for line in ["[tool.terrazzo.result]", *lines.splitlines()])
    return f"# /// script\n{inner}# ///\n{code}"


def called(sandbox: Sandbox, code: str, values: Any = VALUES) -> Block:
    return sandbox.run(code, Block(values, AXES), {"more": 2})


RATIO = """
import numpy as np

def apply_datacube(cube, context):
    assert float(cube.max()) > 1, "these are made-up numbers"
    return cube.mean("bands").expand_dims(kind=1, axis=1).astype("float32")
"""
WHOLE = """dtype = "float32"
dimensions = ["t", "kind"]
labels.kind = ["mean"]"""


def test_result_that_is_declared_whole_is_not_tried_out(sandbox: Sandbox) -> None:
    code = headed(WHOLE, RATIO)

    looked = called(sandbox, code, NOTHING)  # the code itself would refuse to compute this
    result = called(sandbox, code)

    assert [axis.name for axis in looked.axes] == ["t", "kind", "y", "x"]
    assert looked.values.shape == (2, 1, 0, 0)
    assert looked.values.dtype == np.float32
    assert result.axes[0].labels == AXES[0].labels
    assert result.axes[1].labels == ("mean",)
    np.testing.assert_array_equal(result.values[:, 0], VALUES.mean(axis=1))


def test_result_of_which_little_is_declared_is_tried_out(sandbox: Sandbox) -> None:
    with pytest.raises(UdfFailed, match="made-up numbers"):
        called(sandbox, headed('dtype = "float32"', RATIO), NOTHING)


DESCRIBED = """
from openeo.metadata import CollectionMetadata

def apply_metadata(metadata: CollectionMetadata, context: dict) -> CollectionMetadata:
    assert metadata.band_names == ["red", "nir"]
    assert metadata.dimension_names() == ["t", "bands", "y", "x"]
    assert [d.step for d in metadata.spatial_dimensions] == [10, 10]
    return metadata.rename_labels("bands", [f"index{n}" for n in range(context["more"])])

def apply_datacube(cube, context):
    return cube.drop_vars("bands") * 2
"""


def test_apply_metadata_labels_what_comes_back_without_labels(sandbox: Sandbox) -> None:
    result = called(sandbox, DESCRIBED)

    assert result.axes[1].labels == ("index0", "index1")
    np.testing.assert_array_equal(result.values, VALUES * 2)


def test_apply_metadata_and_a_type_leave_nothing_to_try_out(sandbox: Sandbox) -> None:
    code = headed('dtype = "float32"', DESCRIBED).replace(
        "return cube.drop", "assert float(cube.max()) > 1\n    return cube.drop"
    )

    looked = called(sandbox, code, NOTHING)

    assert looked.axes[1].labels == ("index0", "index1")
    np.testing.assert_array_equal(called(sandbox, code).values, VALUES * 2)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("drop_dimension('t')", ["bands", "y", "x"]),
        ("reduce_dimension('t')", ["bands", "y", "x"]),
        ("rename_dimension('bands', 'index')", ["t", "index", "y", "x"]),
        ("append_band('b')", ["t", "bands", "y", "x"]),
        ("filter_bands(['nir'])", ["t", "bands", "y", "x"]),
        ("add_dimension('kind', 'a', 'bands')", ["t", "bands", "y", "x", "kind"]),
    ],
)
def test_metadata_change_as_those_of_the_client(
    sandbox: Sandbox, change: str, names: list[str]
) -> None:
    client = pytest.importorskip("openeo.metadata")
    code = headed(
        'dtype = "float32"',
        f"def apply_metadata(metadata, context):\n    return metadata.{change}\n"
        "def apply_datacube(cube, context):\n    return cube\n",
    )

    looked = called(sandbox, code, NOTHING)

    given = client.CubeMetadata(
        [
            client.TemporalDimension("t", ["2020-01-05", "2020-02-01"]),
            client.BandDimension("bands", [client.Band("red"), client.Band("nir")]),
            client.SpatialDimension("y", [0, 1]),
            client.SpatialDimension("x", [0, 1]),
        ]
    )
    expected = eval(f"given.{change}", {"given": given})  # noqa: S307 - of the list above
    assert [axis.name for axis in looked.axes] == expected.dimension_names() == names
    bands = [axis.labels for axis in looked.axes if axis.name == expected.band_dimension.name]
    assert bands == [tuple(expected.band_names)]


@pytest.mark.parametrize(
    ("header", "body", "words"),
    [
        ('dtype = "uint8"', "return cube", r"`apply_datacube` \(line 5\) returns float32 here, "),
        ('dtype = "uint8"', "return cube", r"declared as uint8.*astype\('uint8'\)"),
        ('dimensions = ["t"]', "return cube", r"\(t, bands, y, x\), and declared are \(t\)"),
        ('labels.bands = ["a"]', "return cube", r"returns \['red', 'nir'\] along 'bands'"),
        ('labels.bands = ["a"]', "return cube.drop_vars('bands')", "returns 2 along 'bands', and"),
        ('labels.kind = ["a"]', "return cube", r"declared for the dimension 'kind'.*line 5"),
    ],
)
def test_result_that_is_not_as_declared_is_refused_before_a_pixel_is_read(
    sandbox: Sandbox, header: str, body: str, words: str
) -> None:
    code = headed(header, f"def apply_datacube(cube, context):\n    {body}\n")

    with pytest.raises(UdfFailed, match=words):
        called(sandbox, code, NOTHING)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return cube.mean('bands').astype('float32')", r"line 7\), returns \(t 2, y 3, x 5\)"),
        ("return cube.mean('bands').expand_dims(kind=1, axis=1).astype('f8')", "float64 here"),
        ("return cube.mean('bands').expand_dims(kind=['b'], axis=1)", "other labels along 'kind'"),
        (
            "return cube.mean('bands').expand_dims(kind=2, axis=1)",
            r"shape \(2, 2, 3, 5\).*\(2, 1, 3, 5\)",
        ),
    ],
)
def test_block_that_is_not_as_declared_is_refused(sandbox: Sandbox, body: str, words: str) -> None:
    code = headed(WHOLE, f"def apply_datacube(cube, context):\n    {body}\n")
    called(sandbox, code, NOTHING)

    with pytest.raises(UdfFailed, match=words):
        called(sandbox, code)


def test_order_of_dimensions_does_not_matter(sandbox: Sandbox) -> None:
    code = headed(
        'dtype = "float32"\ndimensions = ["bands", "t"]',
        "def apply_datacube(cube, context):\n    return cube.transpose('x', 't', 'y', 'bands')\n",
    )

    result = called(sandbox, code)

    assert [axis.name for axis in result.axes] == ["bands", "t", "y", "x"]
    np.testing.assert_array_equal(result.values, VALUES.transpose(1, 0, 2, 3))


def test_bands_of_a_script_are_named_by_its_header(sandbox: Sandbox) -> None:
    code = headed(
        'labels.bands = ["sum", "double"]\ndtype = "float32"', "img = [red + nir, red * 2]\n"
    )

    result = called(sandbox, code)

    assert result.axes[0].labels == ("sum", "double")
    np.testing.assert_array_equal(result.values, [VALUES.sum(axis=1), VALUES[:, 0] * 2])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 5", "must return the metadata that it gets"),
        ("return metadata.resample_spatial(resolution=5)", "must keep the pixels"),
        ("return metadata.reduce_spatial()", "must keep the pixels"),
        ("return metadata.filter_bands(['blue'])", "no band 'blue'(.|\n)*line 2, in apply_meta"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(sandbox: Sandbox, body: str, words: str) -> None:
    code = f"def apply_metadata(metadata, context):\n    {body}\n"
    code += "def apply_datacube(cube, context):\n    return cube\n"

    with pytest.raises(UdfFailed, match=words):
        called(sandbox, code, NOTHING)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('dtype = "float16"', "is one of bool.*not 'float16'"),
        ('dtyp = "uint8"', "knows no 'dtyp'. Did you mean 'dtype'"),
        ('dimensions = "t"', "names that differ"),
        ('dimensions = ["t", "t"]', "names that differ"),
        ("labels.bands = [true]", "texts or numbers that differ"),
        ("labels.bands = [inf]", "texts or numbers that differ"),
        ('labels.bands = ["a", "a"]', "texts or numbers that differ"),
        ("labels = 5", "texts or numbers that differ"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(lines: str, words: str) -> None:
    with pytest.raises(UdfInvalid, match=words):
        declared_result(headed(lines, "img = band0\n"))


def test_nothing_need_be_declared() -> None:
    assert declared_result("img = band0\n") == Declared()
    with pytest.raises(UdfInvalid, match="`tool` in the header of the UDF is a table"):
        declared_result("# /// script\n# tool = 5\n# ///\n")
