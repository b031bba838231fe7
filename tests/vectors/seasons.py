"""Time series: SciPy's curve fitting, xarray's groups of dates, NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import curve_fit
from tests.vectors.documents import (
    Case,
    Cases,
    Document,
    from_gappy,
    gappy,
    graph,
    labelled,
    other,
    parameter,
    sample,
    space,
    time,
    with_labels,
)

LINE = graph(
    slope=("array_element", {"data": parameter("parameters"), "index": 1}),
    offset=("array_element", {"data": parameter("parameters"), "index": 0}),
    rise=("multiply", {"x": {"from_node": "slope"}, "y": parameter("x")}),
    line=("add", {"x": {"from_node": "rise"}, "y": {"from_node": "offset"}}),
)
DECAY = graph(
    start=("array_element", {"data": parameter("parameters"), "index": 0}),
    rate=("array_element", {"data": parameter("parameters"), "index": 1}),
    power=("multiply", {"x": {"from_node": "rate"}, "y": parameter("x")}),
    part=("exp", {"p": {"from_node": "power"}}),
    decay=("multiply", {"x": {"from_node": "start"}, "y": {"from_node": "part"}}),
)
WAVE = graph(
    mean=("array_element", {"data": parameter("parameters"), "index": 0}),
    even=("array_element", {"data": parameter("parameters"), "index": 1}),
    odd=("array_element", {"data": parameter("parameters"), "index": 2}),
    angle=("multiply", {"x": parameter("x"), "y": 2 * np.pi / 12}),
    cosine=("cos", {"x": {"from_node": "angle"}}),
    sine=("sin", {"x": {"from_node": "angle"}}),
    first=("multiply", {"x": {"from_node": "even"}, "y": {"from_node": "cosine"}}),
    second=("multiply", {"x": {"from_node": "odd"}, "y": {"from_node": "sine"}}),
    both=("add", {"x": {"from_node": "first"}, "y": {"from_node": "second"}}),
    wave=("add", {"x": {"from_node": "both"}, "y": {"from_node": "mean"}}),
)


def line(x: Any, offset: float, slope: float) -> Any:
    return offset + slope * x


def decay(x: Any, start: float, rate: float) -> Any:
    return start * np.exp(rate * x)


def wave(x: Any, mean: float, even: float, odd: float) -> Any:
    angle = x * 2 * np.pi / 12
    return mean + even * np.cos(angle) + odd * np.sin(angle)


def _series(x: Any, y: Any) -> Document:
    entries = [{"key": float(key), "value": value} for key, value in zip(x, y, strict=True)]
    return {"type": "labeled-array", "data": entries}


def _fitted(function: Any) -> Any:
    def fit(arguments: Document) -> list[float]:
        entries = [e for e in arguments["data"]["data"] if e["value"] is not None]
        x, y = (np.array([entry[key] for entry in entries], float) for key in ("key", "value"))
        found, _ = curve_fit(function, x, y, p0=arguments["parameters"])
        return [float(value) for value in found]

    return fit


def _predicted(function: Any) -> Any:
    def predict(arguments: Document) -> Document:
        document = arguments["parameters"]
        values = np.moveaxis(gappy(document), document["order"].index("coefficients"), 0)
        found = np.stack([function(x, *values) for x in arguments["labels"]])
        rest = {n: d for n, d in document["dimensions"].items() if n != "coefficients"}
        dimensions = {arguments["dimension"]: other(*arguments["labels"]), **rest}
        return from_gappy(found, dimensions)

    return predict


def _normal(arguments: Document) -> Document:
    """Return means of groups of dates by xarray."""
    first, last = arguments.get("climatology_period", [1981, 2010])
    data, period = arguments["data"], arguments["period"]
    series = labelled(data)
    when = series["t"].dt
    names: Any
    if period == "month":
        names, groups = [f"{n:02d}" for n in range(1, 13)], when.month - 1
        kept = (when.year >= first) & (when.year <= last)
    elif period == "climatology-period":
        names, groups = ["climatology-period"], xr.zeros_like(when.month)
        kept = (when.year >= first) & (when.year <= last)
    else:
        names = ["djf", "mam", "jja", "son"]
        groups = (when.month % 12) // 3
        year = xr.where(when.month == 12, when.year + 1, when.year)
        kept = (year >= first) & (year <= last)
        before = (series["t"] < np.datetime64(f"{first}-01-01")).any()
        if not before:
            kept = kept & ~((groups == 0) & (year == first))
    out = []
    for number in range(len(names)):
        chosen = series.isel(t=np.flatnonzero(kept.values & (groups.values == number)))
        out.append(chosen.mean("t", skipna=True).values)
    return from_gappy(np.stack(out), with_labels(data, "t", names))


def _anomalies(arguments: Document) -> Document:
    """Return the data less the normal whose label their own one ends with."""
    data, normals = arguments["data"], arguments["normals"]
    known = dict(zip(normals["dimensions"]["t"]["values"], gappy(normals), strict=True))
    whole = arguments["period"] in {"year", "single-period", "climatology-period"}
    rows = []
    for label, row in zip(data["dimensions"]["t"]["values"], gappy(data), strict=True):
        key = label if whole and label in known else label.partition("-")[2]
        if len(known) == 1:
            key = next(iter(known))
        rows.append(row - known[key])
    return from_gappy(np.stack(rows), data["dimensions"])


def _months(first: int, last: int, start: int = 1) -> tuple[str, ...]:
    months = [(y, m) for y in range(first, last + 1) for m in range(1, 13)]
    return tuple(f"{y}-{m:02d}-15T00:00:00Z" for y, m in months[start - 1 :])


_X = np.array([0.0, 1.0, 2.5, 4.0, 5.5, 7.0, 9.0, 11.0])
_NOISE = np.array([0.3, -0.2, 0.15, -0.4, 0.25, 0.1, -0.3, 0.2])
MONTHS = ("2020-01", "2020-02", "2021-01", "2021-02")
NORMALS = sample({"t": time("02", "01"), **space(2, 3)}, seed=12, missing=0.1)
FITTED = sample({"coefficients": other(0, 1), **space(2, 3)}, seed=13, missing=0)


def _gap(y: Any) -> list[float | None]:
    return [None if number == 2 else float(value) for number, value in enumerate(y)]


CASES = {
    "fit_curve": Cases(
        "scipy.optimize.curve_fit",
        (
            Case(
                "a line",
                {
                    "data": _series(_X, [float(v) for v in line(_X, 3, -0.5) + _NOISE]),
                    "parameters": [1, 1],
                    "function": LINE,
                },
                _fitted(line),
                delta=1e-6,
            ),
            Case(
                "a line past a gap",
                {
                    "data": _series(_X, _gap(line(_X, 3, -0.5) + _NOISE)),
                    "parameters": [1, 1],
                    "function": LINE,
                },
                _fitted(line),
                delta=1e-6,
            ),
            Case(
                "a decay",
                {
                    "data": _series(_X, [float(v) for v in decay(_X, 8, -0.3) + _NOISE]),
                    "parameters": [5, -0.1],
                    "function": DECAY,
                },
                _fitted(decay),
                delta=1e-5,
            ),
            Case(
                "a year's wave",
                {
                    "data": _series(_X, [float(v) for v in wave(_X, 5, 2, -1) + _NOISE]),
                    "parameters": [1, 1, 1],
                    "function": WAVE,
                },
                _fitted(wave),
                delta=1e-6,
            ),
        ),
    ),
    "predict_curve": Cases(
        "NumPy",
        (
            Case(
                "a line along the dimension of its parameters",
                {
                    "parameters": FITTED,
                    "function": LINE,
                    "dimension": "coefficients",
                    "labels": [0, 1.5, 10],
                },
                _predicted(line),
                delta=1e-6,
            ),
            Case(
                "a decay along a new dimension",
                {
                    "parameters": FITTED,
                    "function": DECAY,
                    "dimension": "step",
                    "labels": [-0.5, 0.25],
                },
                _predicted(decay),
                delta=1e-5,
            ),
            Case(
                "two equal labels",
                {"parameters": FITTED, "function": LINE, "dimension": "step", "labels": [1, 1]},
                throws="ProcessParameterInvalid",
            ),
        ),
    ),
    "climatological_normal": Cases(
        "xarray's groups of dates",
        tuple(
            Case(
                f"{period} of {first} to {last}",
                {
                    "data": sample(
                        {"t": time(*_months(2000, 2003, start)), **space(2, 2)},
                        seed=11,
                        missing=0.1,
                    ),
                    "period": period,
                    "climatology_period": [first, last],
                },
                _normal,
                delta=1e-6,
            )
            for period, first, last, start in (
                ("month", 2000, 2002, 1),
                ("climatology-period", 2001, 2002, 1),
                ("season", 2001, 2002, 1),
                ("season", 2000, 2002, 1),
            )
        ),
    ),
    "anomaly": Cases(
        "NumPy",
        (
            Case(
                "months",
                {
                    "data": sample({"t": time(*MONTHS), **space(2, 3)}, seed=14),
                    "normals": NORMALS,
                    "period": "month",
                },
                _anomalies,
                delta=1e-6,
            ),
            Case(
                "one normal for all",
                {
                    "data": sample({"t": time(*MONTHS), **space(2, 3)}, seed=14),
                    "normals": sample({"t": time("climatology-period"), **space(2, 3)}, seed=15),
                    "period": "climatology-period",
                },
                _anomalies,
                delta=1e-6,
            ),
        ),
    ),
}
"""By process."""
