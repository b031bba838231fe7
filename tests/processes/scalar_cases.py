"""How to call every scalar process on pixels, for tests that hold for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Pixels, Stack
from terrazzo.processes import PROCESSES, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

MODULES = (
    "arithmetic",
    "arrays",
    "comparison",
    "cumulative",
    "dates",
    "labelled",
    "logic",
    "sorting",
    "statistics",
    "texts",
    "trigonometry",
)
SCALAR = sorted(
    name
    for name, process in PROCESSES.items()
    if process.role is Role.SCALAR and process.function.__module__.rpartition(".")[2] in MODULES
)
WITHOUT_PIXELS = {
    "e",
    "pi",
    "constant",
    "nan",
    "array_labels",
    "array_find_label",
    "date_between",
    "date_shift",
    "date_difference",
    "text_find",
    "text_begins",
    "text_contains",
    "text_ends",
    "text_concat",
}


@dataclass(frozen=True)
class Inputs:
    """A stack of numbers and the numbers and booleans per pixel that come of it."""

    data: Stack

    @property
    def x(self) -> Pixels:
        return self.data.at(0)

    @property
    def y(self) -> Pixels:
        return self.data.at(len(self.data) - 1)

    @property
    def flags(self) -> Stack:
        return Stack(self.data.values > 3, self.data.valid, self.data.labels)

    @property
    def a(self) -> Pixels:
        return self.flags.at(0)

    @property
    def b(self) -> Pixels:
        return self.flags.at(len(self.data) - 1)


def run(name: str, *arguments: Any, **named: Any) -> Any:
    """Call a process by its openEO name."""
    return PROCESSES[name].function(*arguments, **named)


def sparse(*, x: Pixels, index: int, label: Any, context: Any) -> Pixels:
    """Callback: true where a number is above another one."""
    del index, label
    return run("gt", x, context)


def moved(*, x: Pixels, index: int, label: Any, context: Any) -> Any:
    """Callback: a number plus its position."""
    del label, context
    return run("add", x, index)


def above(*, x: Pixels, context: Any) -> Pixels:
    """Callback of `count`."""
    return run("gt", x, context)


_UNARY = [
    "absolute",
    "sgn",
    "sqrt",
    "exp",
    "ln",
    "ceil",
    "floor",
    "int",
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arsinh",
    "arcosh",
    "artanh",
    "is_nan",
    "is_infinite",
    "is_nodata",
    "is_valid",
]
_BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "mod",
    "power",
    "log",
    "normalized_difference",
    "arctan2",
    "eq",
    "neq",
    "gt",
    "gte",
    "lt",
    "lte",
]
_REDUCERS = [
    "sum",
    "product",
    "mean",
    "median",
    "min",
    "max",
    "sd",
    "variance",
    "extrema",
    "count",
    "first",
    "last",
    "order",
    "sort",
    "cumsum",
    "cumproduct",
    "cummin",
    "cummax",
    "array_interpolate_linear",
    "array_create",
]

CALLS: dict[str, tuple[Callable[[Inputs], Any], ...]] = {
    **{name: (lambda i, n=name: run(n, i.x),) for name in _UNARY},
    **{
        name: (
            lambda i, n=name: run(n, i.x, i.y),
            lambda i, n=name: run(n, i.x, 2),
            lambda i, n=name: run(n, i.x, 0.3),
            lambda i, n=name: run(n, 10, i.y),
            lambda i, n=name: run(n, i.x, None),
        )
        for name in _BINARY
    },
    **{name: (lambda i, n=name: run(n, i.data),) for name in _REDUCERS},
    "round": (lambda i: run("round", i.x), lambda i: run("round", i.x, 2)),
    "clip": (lambda i: run("clip", i.x, 0, 5.5),),
    "linear_scale_range": (lambda i: run("linear_scale_range", i.x, -1, 7, 0, 255),),
    "between": (lambda i: run("between", i.x, 0, 4), lambda i: run("between", i.x, 0, 4, True)),
    "not": (lambda i: run("not", i.a), lambda i: run("not", i.x)),
    **{
        name: (lambda i, n=name: run(n, i.a, i.b), lambda i, n=name: run(n, i.a, None))
        for name in ("and", "or", "xor")
    },
    **{
        name: (lambda i, n=name: run(n, i.flags), lambda i, n=name: run(n, i.flags, False))
        for name in ("all", "any")
    },
    "if": (
        lambda i: run("if", i.a, i.x, i.y),
        lambda i: run("if", i.a, 1, 0),
        lambda i: run("if", i.a, i.x),
        lambda i: run("if", i.a, i.data, None),
    ),
    "quantiles": (
        lambda i: run("quantiles", i.data, [0, 0.1, 0.5, 0.77, 1]),
        lambda i: run("quantiles", i.data, q=3, ignore_nodata=False),
    ),
    "array_element": (lambda i: run("array_element", i.data, 0),),
    "array_append": (
        lambda i: run("array_append", i.data, i.x, "new"),
        lambda i: run("array_append", i.data, None, "new"),
    ),
    "array_concat": (
        lambda i: run("array_concat", i.data, Stack(i.data.values, i.data.valid)),
        lambda i: run("array_concat", i.data, [1, 2.5]),
    ),
    "array_create_labeled": (
        lambda i: run("array_create_labeled", i.data, list(range(len(i.data)))),
    ),
    "array_modify": (
        lambda i: run("array_modify", i.data, Stack(i.data.values, i.data.valid), 1, 2),
        lambda i: run("array_modify", i.data, [], 0, 1),
        lambda i: run("array_modify", i.data, [1, None], 0),
    ),
    "array_contains": (lambda i: run("array_contains", i.data, 3),),
    "array_find": (
        lambda i: run("array_find", i.data, 3),
        lambda i: run("array_find", i.data, 3, True),
    ),
    "array_apply": (lambda i: run("array_apply", i.data, moved, 2),),
    "array_filter": (lambda i: run("array_filter", i.data, sparse, 2),),
    "rearrange": (
        lambda i: run("rearrange", i.data, run("order", i.data)),
        lambda i: run("rearrange", i.data, [0, 0]),
    ),
}
CALLS["count"] += (
    lambda i: run("count", i.data, above, 2),
    lambda i: run("count", i.data, True),
)
for _name in ("sum", "mean", "median", "min", "sd", "extrema", "first", "cumsum", "cummax"):
    CALLS[_name] += (lambda i, n=_name: run(n, i.data, ignore_nodata=False),)
for _name in ("order", "sort"):
    CALLS[_name] += (
        lambda i, n=_name: run(n, i.data, False, True),
        lambda i, n=_name: run(n, i.data, True, False),
    )


def frozen(values: np.ndarray, valid: np.ndarray) -> Stack:
    """Return a stack that nobody can write into."""
    labels = tuple(f"B{index:02}" for index in range(len(values)))
    values, valid = values.view(), valid.view()
    values.flags.writeable = valid.flags.writeable = False
    return Stack(values, valid, labels)
