"""The second raster of a process is aligned as `resample_cube_spatial` would align it."""

from __future__ import annotations

from typing import Any

import pytest

from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.compare import assert_same_pixels
from terrazzo.testing.graphs import callback, collections

X, Y = {"from_parameter": "x"}, {"from_parameter": "y"}
KERNEL = [[1, 2, 1], [0, 3, 0], [5, 0, 1]]


def node(process: str, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process, "arguments": arguments}


def ref(name: str) -> dict[str, str]:
    return {"from_node": name}


def loaded(name: str) -> dict[str, Any]:
    return node("load_collection", id=name, spatial_extent=None, temporal_extent=None)


SECOND = {
    "as loaded": {},
    "smoothed": {"kernel": node("apply_kernel", data=ref("coarse"), kernel=KERNEL)},
    "smoothed and scaled": {
        "kernel": node("apply_kernel", data=ref("coarse"), kernel=KERNEL),
        "half": node("apply", data=ref("kernel"), process=callback("multiply", x=X, y=0.5)),
    },
    "scaled": {"half": node("apply", data=ref("coarse"), process=callback("multiply", x=X, y=0.5))},
    "on a third grid": {
        "third": node("resample_spatial", data=ref("coarse"), resolution=35),
        "onto": node(
            "resample_cube_spatial", data=ref("coarse"), target=ref("third"), method="average"
        ),
    },
}


@pytest.mark.parametrize("process", ["merge_cubes", "mask"])
@pytest.mark.parametrize("made", SECOND)
def test_implicit_alignment_is_that_of_resample_cube_spatial(process: str, made: str) -> None:
    nodes = {"fine": loaded("fine"), "coarse": loaded("coarse"), **SECOND[made]}
    second = list(nodes)[-1]

    def joined(other: str) -> dict[str, Any]:
        if process == "mask":
            return node("mask", data=ref("fine"), mask=ref(other))
        resolver = callback("subtract", x=X, y=Y)
        return node("merge_cubes", cube1=ref("fine"), cube2=ref(other), overlap_resolver=resolver)

    aligned = node("resample_cube_spatial", data=ref(second), target=ref("fine"))
    implicit = {**nodes, "end": {**joined(second), "result": True}}
    explicit = {**nodes, "aligned": aligned, "end": {**joined("aligned"), "result": True}}

    one, two = (
        make_plan(infer(parse(graph, specs=SPECS), collections())) for graph in (implicit, explicit)
    )

    assert one.grid == two.grid
    assert one.window == two.window
    assert_same_pixels(evaluate(one, one.window), evaluate(two, two.window))
