"""A second interpreter of process graphs, as slow and plain as can be: an oracle for the engine.

It knows no windows, no planner and no types: every node is computed whole, in float64, from the
document itself, with loops where they are clearer. It shares with Terrazzo the formula of the
synthetic pixels and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np

from terrazzo.testing.graphs import LEFT, TIMES, TOP
from terrazzo.testing.synthetic import PRIME

HEIGHT, WIDTH = 60, 70


@dataclass
class Array:
    """Values over labelled dimensions and all pixels of the collection `fine`."""

    dims: dict[str, list[str]]
    values: np.ndarray
    valid: np.ndarray
    rows: tuple[int, int] = (0, HEIGHT)
    cols: tuple[int, int] = (0, WIDTH)

    def axis(self, name: str) -> int:
        return list(self.dims).index(name)

    def take(self, name: str, labels: list[str]) -> Array:
        where = [self.dims[name].index(label) for label in labels]
        axis = self.axis(name)
        return replace(
            self,
            dims={**self.dims, name: list(labels)},
            values=self.values.take(where, axis),
            valid=self.valid.take(where, axis),
        )

    def inside(self) -> np.ndarray:
        held = np.zeros((HEIGHT, WIDTH), bool)
        held[slice(*self.rows), slice(*self.cols)] = True
        return held


def run(graph: dict[str, Any]) -> Array:
    """Compute a graph node by node."""
    done: dict[str, Array] = {}
    for name, node in graph.items():  # the generator writes inputs first
        arguments = {
            key: done[value["from_node"]]
            if isinstance(value, dict) and "from_node" in value
            else value
            for key, value in node["arguments"].items()
        }
        done[name] = PROCESSES[node["process_id"]](**arguments)
        if node.get("result"):
            return done[name]
    raise AssertionError("no result")


def load_collection(**arguments: Any) -> Array:
    bands = arguments.get("bands") or ["red", "nir"]
    row, col = np.mgrid[:HEIGHT, :WIDTH]
    values = np.empty((len(TIMES), len(bands), HEIGHT, WIDTH))
    valid = np.empty(values.shape, bool)
    for t, text in enumerate(TIMES):
        day = date.fromisoformat(text[:10]).toordinal()
        for b, band in enumerate(bands):
            values[t, b] = (31 * col + 17 * row + 101 * day + 211 * sum(band.encode())) % PRIME
            valid[t, b] = (7 * col + 11 * row + 3 * day) % 13 != 0
    return Array({"t": list(TIMES), "bands": list(bands)}, values, valid)


def filter_bands(data: Array, bands: list[str]) -> Array:
    return data.take("bands", bands)


def filter_temporal(data: Array, extent: list[str | None]) -> Array:
    start, end = (edge and instant(edge) for edge in extent)
    kept = [
        t
        for t in data.dims["t"]
        if (start is None or start <= instant(t)) and (end is None or instant(t) < end)
    ]
    return data.take("t", kept)


def filter_bbox(data: Array, extent: dict[str, float]) -> Array:
    xs = LEFT + 10 * (np.arange(WIDTH) + 0.5)
    ys = TOP - 10 * (np.arange(HEIGHT) + 0.5)
    cols = np.flatnonzero((xs >= extent["west"]) & (xs <= extent["east"]))
    rows = np.flatnonzero((ys >= extent["south"]) & (ys <= extent["north"]))
    cropped = replace(
        data,
        rows=(max(data.rows[0], rows[0]), min(data.rows[1], rows[-1] + 1)),
        cols=(max(data.cols[0], cols[0]), min(data.cols[1], cols[-1] + 1)),
    )
    return replace(cropped, valid=data.valid & cropped.inside())


def apply(data: Array, process: dict[str, Any]) -> Array:
    known: dict[str, Any] = {}
    x = (data.values, data.valid)
    for name, node in process["process_graph"].items():
        given = {}
        for key, value in node["arguments"].items():
            if isinstance(value, dict):
                value = known[value["from_node"]] if "from_node" in value else x  # noqa: PLW2901
            given[key] = value
        known[name] = pixel_process(node["process_id"], given)
        if node.get("result"):
            values, valid = known[name]
            return replace(data, values=values, valid=valid)
    raise AssertionError("no result")


def pixel_process(name: str, given: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    def of(key: str) -> tuple[Any, Any]:
        value = given[key]
        return (
            value
            if isinstance(value, tuple)
            else (0 if value is None else value, value is not None)
        )

    if name == "if":
        (test, known), (yes, yes_valid), (no, no_valid) = of("value"), of("accept"), of("reject")
        chosen = (test != 0) & known
        return np.where(chosen, yes, no), np.where(chosen, yes_valid, no_valid)
    x, valid = of("x")
    if name == "linear_scale_range":
        low, high = given["inputMin"], given["inputMax"]
        share = (np.clip(x, low, high) - low) / (high - low)
        return share * (given["outputMax"] - given["outputMin"]) + given["outputMin"], valid
    y, other = of("y")
    operations = {
        "multiply": np.multiply,
        "subtract": np.subtract,
        "lt": np.less,
        "gt": np.greater,
    }
    return operations[name](x, y).astype(float), valid & other


def reduced(values: np.ndarray, valid: np.ndarray, reducer: str) -> tuple[np.ndarray, np.ndarray]:
    """Reduce axis 0, pixel by pixel."""
    out, known = np.zeros(values.shape[1:]), np.zeros(values.shape[1:], bool)
    for index in np.ndindex(*out.shape):
        series = values[(slice(None), *index)][valid[(slice(None), *index)]]
        if reducer == "count":
            out[index], known[index] = np.isfinite(series).sum(), True
        elif len(series) > 0:
            functions = {
                "median": np.median,
                "mean": np.mean,
                "max": np.max,
                "min": np.min,
                "sum": np.sum,
                "sd": lambda s: np.std(s, ddof=1) if len(s) > 1 else np.nan,
                "first": lambda s: s[0],
                "last": lambda s: s[-1],
            }
            out[index], known[index] = functions[reducer](series), True
    return out, known


def reducer_of(callback: dict[str, Any]) -> str:
    return callback["process_graph"]["only"]["process_id"]


def reduce_dimension(data: Array, reducer: dict[str, Any], dimension: str) -> Array:
    axis = data.axis(dimension)
    values, valid = np.moveaxis(data.values, axis, 0), np.moveaxis(data.valid, axis, 0)
    dims = {name: labels for name, labels in data.dims.items() if name != dimension}
    if reducer_of(reducer) == "subtract":  # of two bands, the second by name and the first
        label = reducer["process_graph"]["a"]["arguments"]["label"]
        a = data.dims[dimension].index(label)
        return replace(data, dims=dims, values=values[a] - values[0], valid=valid[a] & valid[0])
    out, known = reduced(values, valid, reducer_of(reducer))
    return replace(data, dims=dims, values=out, valid=known)


def aggregated(data: Array, groups: dict[str, list[int]], reducer: dict[str, Any]) -> Array:
    axis = data.axis("t")
    values, valid = np.moveaxis(data.values, axis, 0), np.moveaxis(data.valid, axis, 0)
    parts = [reduced(values[group], valid[group], reducer_of(reducer)) for group in groups.values()]
    if not parts:
        parts = [(np.zeros(values.shape[1:]), np.zeros(values.shape[1:], bool))][:0]
        shape = (0, *values.shape[1:])
        stacked = np.zeros(shape), np.zeros(shape, bool)
    else:
        stacked = np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])
    return replace(
        data,
        dims={**data.dims, "t": list(groups)},
        values=np.moveaxis(stacked[0], 0, axis),
        valid=np.moveaxis(stacked[1], 0, axis),
    )


def instant(label: str) -> datetime:
    """Return the first instant of a date-time, a day, a month or a year."""
    text = {
        4: f"{label}-01-01T00:00:00Z",
        7: f"{label}-01T00:00:00Z",
        10: f"{label}T00:00:00Z",
    }.get(len(label), label)
    return datetime.fromisoformat(text)


def aggregate_temporal_period(data: Array, period: str, reducer: dict[str, Any]) -> Array:
    assert period in {"month", "year"}
    if period == "year":
        years = sorted({instant(t).year for t in data.dims["t"]})
        held = {
            f"{year:04d}": [i for i, t in enumerate(data.dims["t"]) if instant(t).year == year]
            for year in range(years[0], years[-1] + 1)
        }
        return aggregated(data, held, reducer)
    months = [instant(t).year * 12 + instant(t).month - 1 for t in data.dims["t"]]
    groups = {
        f"{month // 12:04d}-{month % 12 + 1:02d}": [i for i, m in enumerate(months) if m == month]
        for month in (range(min(months), max(months) + 1) if months else ())
    }
    return aggregated(data, groups, reducer)


def aggregate_temporal(
    data: Array, intervals: list[list[str | None]], labels: list[str], reducer: dict[str, Any]
) -> Array:
    groups = {
        label: [
            i
            for i, t in enumerate(data.dims["t"])
            if (start is None or instant(start) <= instant(t))
            and (end is None or instant(t) < instant(end))
        ]
        for label, (start, end) in zip(labels, intervals, strict=True)
    }
    return aggregated(data, groups, reducer)


def apply_dimension(data: Array, process: dict[str, Any], dimension: str) -> Array:
    axis = data.axis(dimension)
    values = np.moveaxis(data.values.copy(), axis, 0)
    valid = np.moveaxis(data.valid.copy(), axis, 0)
    kind = reducer_of(process)
    places = np.arange(len(values))
    if dimension == "t":
        places = np.array([instant(label).timestamp() for label in data.dims["t"]])
    for index in np.ndindex(*values.shape[1:]):
        at = (slice(None), *index)
        values[at], valid[at] = along(kind, places, values[at].copy(), valid[at].copy())
    values[~valid] = 0
    return replace(data, values=np.moveaxis(values, 0, axis), valid=np.moveaxis(valid, 0, axis))


def along(
    kind: str, places: np.ndarray, series: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what one of the processes that keep the length makes of a series."""
    there = series[known]
    if kind in {"sort", "order"}:  # what is not known is left out, and missing at the end
        ranked = np.argsort(there, kind="stable")
        found = there[ranked] if kind == "sort" else np.flatnonzero(known)[ranked]
        rest = len(series) - len(there)
        return np.append(found, np.zeros(rest)), np.arange(len(series)) < len(there)
    if kind == "array_interpolate_linear":
        fixed = known & ~np.isnan(series)
        if fixed.any():
            first, last = places[fixed][[0, -1]]
            gaps = ~fixed & (first < places) & (places < last)
            series[gaps] = np.interp(places[gaps], places[fixed], series[fixed])
            known = known | gaps
        return series, known
    functions = {
        "cumsum": np.cumsum,
        "cumproduct": np.cumprod,
        "cummin": np.minimum.accumulate,
        "cummax": np.maximum.accumulate,
    }
    series[known] = functions[kind](there)
    return series, known


def flatten_dimensions(data: Array, dimensions: list[str], target_dimension: str) -> Array:
    kept = [name for name in data.dims if name not in dimensions]
    order = [data.axis(name) for name in (*kept, *dimensions)]
    order += [len(data.dims), len(data.dims) + 1]
    shape = (*(len(data.dims[name]) for name in kept), -1, HEIGHT, WIDTH)
    labels = [""]
    for name in dimensions:
        labels = [f"{before}~{label}" for before in labels for label in data.dims[name]]
    return replace(
        data,
        dims={name: data.dims[name] for name in kept}
        | {target_dimension: [label[1:] for label in labels]},
        values=data.values.transpose(order).reshape(shape),
        valid=data.valid.transpose(order).reshape(shape),
    )


def unflatten_dimension(data: Array, dimension: str, target_dimensions: list[str]) -> Array:
    assert list(data.dims) == [dimension]
    parts = [label.split("~") for label in data.dims[dimension]]
    dims = {
        name: list(dict.fromkeys(part[number] for part in parts))
        for number, name in enumerate(target_dimensions)
    }
    shape = (*(len(labels) for labels in dims.values()), HEIGHT, WIDTH)
    values, valid = np.zeros(shape), np.zeros(shape, bool)
    for place, part in enumerate(parts):
        at = tuple(labels.index(text) for labels, text in zip(dims.values(), part, strict=True))
        values[at], valid[at] = data.values[place], data.valid[place]
    return replace(data, dims=dims, values=values, valid=valid)


def resample_cube_temporal(data: Array, target: Array, valid_within: float | None) -> Array:
    axis = data.axis("t")
    values, valid = np.moveaxis(data.values, axis, 0), np.moveaxis(data.valid, axis, 0)
    times = [instant(label) for label in data.dims["t"]]
    shape = (len(target.dims["t"]), *values.shape[1:])
    out, known = np.zeros(shape), np.zeros(shape, bool)
    for number, label in enumerate(target.dims["t"]):
        away = [abs(time - instant(label)).total_seconds() / 86_400 for time in times]
        for rank, (days, _, place) in enumerate(
            sorted(zip(away, times, range(len(times)), strict=True))
        ):
            if valid_within is None:
                if rank == 0:
                    out[number], known[number] = values[place], valid[place]
            elif days == 0 or days < valid_within:
                fresh = valid[place] & np.isfinite(values[place]) & ~known[number]
                out[number] = np.where(fresh, values[place], out[number])
                known[number] |= fresh
    return replace(
        data,
        dims={**data.dims, "t": list(target.dims["t"])},
        values=np.moveaxis(out, 0, axis),
        valid=np.moveaxis(known, 0, axis),
    )


def anomaly(data: Array, normals: Array, period: str) -> Array:
    assert period == "single-period"
    assert len(normals.dims["t"]) == 1
    return replace(data, values=data.values - normals.values, valid=data.valid & normals.valid)


def mask(data: Array, mask: Array, replacement: float | None = None) -> Array:
    hidden = mask.valid & (mask.values != 0)
    if replacement is None:
        return replace(data, valid=data.valid & ~hidden)
    values = np.where(hidden, replacement, data.values)
    return replace(data, values=values, valid=data.valid | hidden)


def apply_kernel(data: Array, kernel: list[list[float]], factor: float, border: Any) -> Array:
    weights = np.array(kernel)[::-1, ::-1]
    down, across = weights.shape[0] // 2, weights.shape[1] // 2
    held = (..., slice(*data.rows), slice(*data.cols))
    image = np.where(data.valid & np.isfinite(data.values), data.values, 0)[held]
    halo = [(0, 0)] * (image.ndim - 2) + [(down, down), (across, across)]
    modes = {
        "replicate": "edge",
        "reflect": "symmetric",
        "reflect_pixel": "reflect",
        "wrap": "wrap",
        0: "constant",
    }
    padded = np.pad(image, halo, mode=modes[border])
    total = np.zeros(image.shape)
    for j in range(weights.shape[0]):
        for i in range(weights.shape[1]):
            shifted = padded[..., j : j + image.shape[-2], i : i + image.shape[-1]]
            total += weights[j, i] * shifted
    values, valid = np.zeros(data.values.shape), np.zeros(data.values.shape, bool)
    values[held], valid[held] = total * factor, True
    return replace(data, values=values, valid=valid)


def resolved(
    name: str, a: np.ndarray, a_valid: np.ndarray, b: np.ndarray, b_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if name == "max":
        return reduced(np.stack([a, b]), np.stack([a_valid, b_valid]), "max")
    return {"add": np.add, "subtract": np.subtract}[name](a, b), a_valid & b_valid


def merge_cubes(cube1: Array, cube2: Array, overlap_resolver: dict[str, Any]) -> Array:
    wide = cube2 if len(cube2.dims) > len(cube1.dims) else cube1
    dims = {}
    for name, labels in wide.dims.items():
        both = [*cube1.dims.get(name, labels), *cube2.dims.get(name, labels)]
        joined = list(dict.fromkeys(both))
        if name == "t" and cube1.dims.get(name) != cube2.dims.get(name):
            joined = sorted(joined, key=instant)
        dims[name] = joined
    shape = (*(len(labels) for labels in dims.values()), HEIGHT, WIDTH)
    values, valid = np.zeros(shape), np.zeros(shape, bool)
    for index in np.ndindex(*shape[:-2]):
        label = dict(
            zip(dims, (list(dims.values())[k][i] for k, i in enumerate(index)), strict=True)
        )
        found = [image for image in (_image(cube1, label), _image(cube2, label)) if image]
        if len(found) == 1:
            values[index], valid[index] = found[0][:2]
        elif found:
            (a, a_valid, a_in), (b, b_valid, b_in) = found
            most, known = resolved(reducer_of(overlap_resolver), a, a_valid, b, b_valid)
            values[index] = np.where(~a_in, b, np.where(~b_in, a, most))
            valid[index] = np.where(~a_in, b_valid, np.where(~b_in, a_valid, known))
    return replace(
        wide,
        dims=dims,
        values=values,
        valid=valid,
        rows=(min(cube1.rows[0], cube2.rows[0]), max(cube1.rows[1], cube2.rows[1])),
        cols=(min(cube1.cols[0], cube2.cols[0]), max(cube1.cols[1], cube2.cols[1])),
    )


def _image(cube: Array, label: dict[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    index = []
    for name, labels in cube.dims.items():
        if label[name] not in labels:
            return None
        index.append(labels.index(label[name]))
    return cube.values[tuple(index)], cube.valid[tuple(index)], cube.inside()


PROCESSES = {
    function.__name__: function
    for function in (
        load_collection,
        filter_bands,
        filter_temporal,
        filter_bbox,
        apply,
        reduce_dimension,
        aggregate_temporal_period,
        aggregate_temporal,
        apply_dimension,
        flatten_dimensions,
        unflatten_dimension,
        resample_cube_temporal,
        anomaly,
        mask,
        apply_kernel,
        merge_cubes,
    )
}
