"""`inspect`: what a graph tells its user about the data that pass through it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import numpy as np

from terrazzo import logs
from terrazzo.cube import Cube, Kind, Label, Mask, Pixels, Stack, Values
from terrazzo.cube.tally import Tally
from terrazzo.cube.tape import Untraceable
from terrazzo.errors import ArgumentInvalid
from terrazzo.processes.convert import is_list, to_json
from terrazzo.processes.registry import Role, Rules, process, same_labels
from terrazzo.processes.schemas import Anything, Schema

Text = Annotated[str, Schema({"type": "string"})]
LogLevel = Annotated[str, Schema({"type": "string", "enum": [level.value for level in logs.Level]})]
MOST_LABELS = 10
"""Labels of a dimension that are told; of more, the first and the last."""
MOST_VALUES = 100
"""Values of a cube without pixels that are told one by one."""


@process(
    "inspect",
    Role.CUBE,
    categories=("development",),
    rules=Rules(labels=same_labels, relays=True, scratch=4.0),
)
def inspect(
    data: Anything, message: Text = "", code: Text = "User", level: LogLevel = "info"
) -> Anything:
    """Tell about data in the log, and pass them on.

    Of values and arrays the log has the values; of rasters, and of pixels inside a callback, one
    entry for all blocks: dimensions, type, counts, minimum, maximum and mean of all pixels that
    are computed.

    Args:
        data: anything.
        message: for people.
        code: a label to find entries by.
        level: `error`, `warning`, `info` or `debug`.

    Returns:
        `data`, unchanged.

    Source:
        openEO process `inspect` 2.0.0-rc.2.
    """
    if level not in list(logs.Level):
        raise ArgumentInvalid(f"`level` is one of {', '.join(logs.Level)}, not {level!r}.")
    if isinstance(data, (Cube, Pixels, Stack)) and not isinstance(data.values, np.ndarray):
        raise Untraceable("It looks at every pixel.")
    if logs.listening():
        told = _told(data)
        if not isinstance(told, logs.Summary) or told.count + told.missing:
            logs.log(level, message, code=code, data=told, once=True)
    return data


_counted: ContextVar[Callable[[], Mask | None] | None] = ContextVar("counted", default=None)


@contextmanager
def counting(mask: Callable[[], Mask | None]) -> Iterator[None]:
    """Count, in the `with` block, only some of the pixels of each window.

    Args:
        mask: gives (y, x) which pixels, None for all. Blocks overlap where a later step looks at
            neighbours; so each pixel is counted by one of them.
    """
    token = _counted.set(mask)
    try:
        yield
    finally:
        _counted.reset(token)


def _told(data: Any) -> Any:
    """Return JSON values, or a summary."""
    if isinstance(data, Cube):
        about = {"dimensions": [_dimension(data, axis) for axis in range(len(data.names))]}
        if data.grid is None and data.values.size <= MOST_VALUES:
            return {**about, "dtype": data.dtype.name, "values": _values(data.values, data.valid)}
        return _summary(data.values, data.valid, about)
    if isinstance(data, Pixels) and data.values.ndim:
        return _summary(data.values, data.valid, {})
    if isinstance(data, Stack) and not is_list(data):
        labels = data.labels or range(len(data))
        return _summary(data.values, data.valid, {"labels": _short(labels)})
    return _json(to_json(data))


def _summary(values: Values, valid: Mask, about: Mapping[str, Any]) -> logs.Summary:
    about = {**about, "dtype": values.dtype.name}
    make = _counted.get()
    mask = make() if make is not None else None
    if mask is not None and values.shape[-2:] == mask.shape:
        values, valid = values[..., mask], valid[..., mask]
    if values.dtype == np.object_:
        count = int(valid.sum())
        return logs.Summary(about, count, valid.size - count)
    tally = Tally.of(values, valid, extremes=True, sums=True)
    return logs.Summary(
        about,
        tally.count,
        tally.size - tally.count,
        tally.nan,
        tally.above + tally.below,
        tally.low,
        tally.high,
        tally.total,
    )


def _dimension(cube: Cube, axis: int) -> dict[str, Any]:
    dimension = cube.dimensions[axis]
    told: dict[str, Any] = {"name": dimension.name, "type": dimension.kind.value}
    if dimension.kind is not Kind.SPATIAL:
        return {**told, "labels": _short(dimension.labels)}
    if cube.grid is None:
        return told
    across = axis == len(cube.dimensions) - 1
    step = cube.grid.pixel_x if across else cube.grid.pixel_y
    return {**told, "step": step, "reference_system": cube.grid.crs}


def _short(labels: Sequence[Label]) -> list[Label]:
    """Return labels; of many the first and the last, and how many there are between."""
    if len(labels) <= MOST_LABELS:
        return list(labels)
    half = MOST_LABELS // 2
    between = f"... {len(labels) - 2 * half} more ..."
    return [*labels[:half], between, *labels[-half:]]


def _values(values: Values, valid: Mask) -> Any:
    if not values.ndim:
        return _json(values.item()) if valid else None
    return [_values(*pair) for pair in zip(values, valid, strict=True)]


def _json(value: Any) -> Any:
    """Return a value as JSON has it, which knows neither NaN nor infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
