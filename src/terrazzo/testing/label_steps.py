"""Steps of random process graphs that work on labels: dates of others, normals, curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from terrazzo.testing.grown import DATA, REDUCERS, Draw, Ground, Grown, X, callback, load


def flat(draw: Draw, grown: Grown) -> Grown:
    """Put dates and bands into one dimension, maybe take it apart again, and reduce what is."""
    names = (["t"] if grown.time else []) + (["bands"] if grown.bands else [])
    if not names:
        return grown
    flat = grown.then(
        "flatten_dimensions",
        {"data": grown.data, "dimensions": draw(st.permutations(names)), "target_dimension": "one"},
        time=False,
        bands=(),
    )
    left = ["one"]
    if len(names) > 1 and draw(st.booleans()):
        left = ["first", "second"]
        split = {"data": flat.data, "dimension": "one", "target_dimensions": left}
        flat = flat.then("unflatten_dimension", split)
    for name in left:
        reducer = callback(draw(st.sampled_from(REDUCERS)), data=DATA)
        flat = flat.then(
            "reduce_dimension", {"data": flat.data, "reducer": reducer, "dimension": name}
        )
    return flat


def aligned(draw: Draw, grown: Grown) -> Grown:
    """Take the dates of a collection, or some of them."""
    if not grown.time:
        return grown
    target = load(draw, grown)
    extent = [grown.ground.extent[0], draw(st.sampled_from((None, grown.ground.extent[1])))]
    target = target.then("filter_temporal", {"data": target.data, "extent": extent})
    arguments = {
        "data": grown.data,
        "target": target.data,
        "valid_within": draw(st.sampled_from((None, 0, 21, 60))),
    }
    return replace(target, bands=grown.bands).then("resample_cube_temporal", arguments)


def anomaly(draw: Draw, grown: Grown) -> Grown:
    """Subtract what all dates of a year come to."""
    if not grown.time or grown.ground != Ground():
        return grown
    normals = grown.then(
        "aggregate_temporal_period",
        {
            "data": grown.data,
            "period": "year",
            "reducer": callback(draw(st.sampled_from(REDUCERS)), data=DATA),
        },
    )
    return normals.then(
        "anomaly", {"data": grown.data, "normals": normals.data, "period": "single-period"}
    )


def curve(draw: Draw, grown: Grown) -> Grown:
    """Fit a trend, or a curve, over the dates and predict others."""
    if not grown.time:
        return grown
    parts: dict[str, Any] = {
        name: {
            "process_id": "array_element",
            "arguments": {"data": {"from_parameter": "parameters"}, "index": index},
        }
        for index, name in enumerate("ab")
    }
    parts["slope"] = draw(
        st.sampled_from(
            (
                {"process_id": "arctan", "arguments": {"x": {"from_node": "b"}}},
                {"process_id": "multiply", "arguments": {"x": {"from_node": "b"}, "y": 2}},
            )
        )
    )
    parts["line"] = {
        "process_id": "multiply",
        "arguments": {"x": X, "y": {"from_node": "slope"}},
    }
    parts["only"] = {
        "process_id": "add",
        "arguments": {"x": {"from_node": "a"}, "y": {"from_node": "line"}},
        "result": True,
    }
    model = {"process_graph": parts}
    fit = callback("fit_curve", data=DATA, parameters=[100, 1e-6], function=model)
    fitted = grown.then(
        "apply_dimension",
        {"data": grown.data, "process": fit, "dimension": "t", "target_dimension": "parameters"},
    )
    return fitted.then(
        "predict_curve",
        {
            "parameters": fitted.data,
            "function": model,
            "dimension": "t",
            "labels": list(grown.ground.extent),
        },
    )
