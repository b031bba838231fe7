"""What a worker does: take arrays, call the user's code, give arrays back. Runs in a worker.

After the user's code has run once nothing in this process can be trusted; what it sends is
checked by the server.
"""

from __future__ import annotations

import io
import logging
import math
import mmap
import os
import random
import sys
import threading
import traceback
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from terrazzo.sandbox import contract, forms
from terrazzo.sandbox.channel import frame, receive, write
from terrazzo.sandbox.unusable import Unusable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket
    from types import TracebackType

    from terrazzo.sandbox.limits import Limits

_TRACE_FRAMES = 12
_MESSAGE = 2000
"""Letters of an error that are told."""
_LINE = 200
"""Letters of a line of code that are told."""
_LOGGED = 1000
"""Numbers of an array that a log entry may have; of a larger one it has NumPy's short text."""
_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


class _Teller:
    """Sends log entries, up to a number of bytes per call."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.channel = -1
        """File to which everything is written."""
        self.left = most

    def begin(self) -> None:
        """Count from nothing."""
        self.left = self._most

    def tell(self, level: str, message: Any, *, code: str = "", data: Any = None) -> None:
        """Send an entry; what does not fit any more is dropped, with a word on it."""
        if self.channel < 0 or self.left < 0:
            return
        level = str(level).lower()
        entry = {
            "level": level if level in {"error", "warning", "info", "debug"} else "info",
            "message": str(message),
            "code": str(code),
            "data": _json_of(data),
        }
        content = frame({"log": entry})
        with self._lock:
            self.left -= len(content)
            if self.left < 0:
                told = f"More than {self._most} bytes were printed or logged; the rest is dropped."
                content = frame({"log": {"level": "warning", "message": told, "code": "UDF"}})
            write(self.channel, content)


_teller = _Teller(0)


class _Lines(io.TextIOBase):
    """What `print` writes to: every line is a log entry."""

    def __init__(self, level: str) -> None:
        self._level = level
        self._rest: list[str] = []

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, text: str, /) -> int:
        self._rest.append(text)
        if "\n" in text:
            *lines, rest = "".join(self._rest).split("\n")
            self._rest = [rest]
            for line in lines:
                _teller.tell(self._level, line, code="UDF")
        return len(text)

    def finish(self) -> None:
        """Tell a last line that has no end."""
        if any(self._rest):
            self.write("\n")


class _Handler(logging.Handler):
    """Makes log entries of what is logged."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        _teller.tell(level, self.format(record), code="UDF", data=getattr(record, "data", None))


def _json_of(data: Any) -> Any:
    """Return data as JSON values: arrays as lists, what has no JSON as its text."""
    if data is None or isinstance(data, (bool, int, float, str)):
        return str(data) if isinstance(data, float) and not math.isfinite(data) else data
    if isinstance(data, dict):
        return {str(key): _json_of(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_json_of(value) for value in data]
    if isinstance(data, (np.ndarray, np.generic)) and data.size <= _LOGGED:
        return _json_of(data.tolist())
    return str(data)


class _Uncached(MetaPathFinder):
    """Lets Numba's `cache=True` pass unheeded: there is no folder that would stay."""

    @override
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "numba.core.dispatcher":
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None:
            load = loader.exec_module

            def loaded(module: Any) -> None:
                load(module)
                module.FunctionCache = lambda _: module.NullCache()

            loader.exec_module = loaded
        return spec


def warm_up() -> None:
    """Run some code once, so that no worker has to load what it needs."""
    with suppress(ImportError):
        import scipy.ndimage  # noqa: F401, PLC0415 - what many load

    contract.install(_teller.tell)
    block = forms.Block(
        np.ones((2, 2, 3, 3), np.float32),
        (
            {"name": "t", "kind": "temporal", "labels": ["2020-01-01T00:00:00Z", "2020-02-01"]},
            {"name": "bands", "kind": "bands", "labels": ["B04", "B08"]},
            {"name": "y", "kind": "spatial", "labels": {"origin": 0, "first": 0, "step": -1}},
            {"name": "x", "kind": "spatial", "labels": {"origin": 0, "first": 0, "step": 1}},
        ),
    )
    code = (
        "def apply_datacube(cube, context):\n"
        " b = cube.sel(bands='B08') - cube.sel(bands='B04').fillna(0)\n"
        " return xarray.where(b > 0, b, 0).mean(dim='t', skipna=True)\n"
    )
    forms.load(code).call(block, {})
    sys.modules.pop(forms.MODULE, None)


def prepare(limits: Limits) -> None:
    """Let all that is printed and logged be told from now on."""
    global _teller  # noqa: PLW0603 - one per process
    _teller = _Teller(limits.told_bytes)
    contract.install(_teller.tell)
    sys.stdout, sys.stderr = _Lines("info"), _Lines("warning")
    logging.root.handlers[:] = [_Handler()]
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.meta_path.insert(0, _Uncached())


def serve(channel: socket) -> None:
    """Answer calls until the server hangs up."""
    _teller.channel = channel.fileno()
    form: forms.Form | None = None
    kept: list[mmap.mmap] = []
    memory: list[mmap.mmap] = []
    while True:
        request, files = receive(channel, 2)
        if request is None:
            return
        _teller.begin()
        try:
            memory = _mapped(files) or kept
            if request["memory"] == "new":
                kept = memory
            if form is None:
                form = forms.load(request["code"])
            answer = _answer(form, request, *memory)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is but an error of the user
            answer = {"error": _told(error)}
        memory = []
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Lines):
                stream.finish()
        write(channel.fileno(), frame({"id": request["id"], **answer}))


def _mapped(files: list[int]) -> list[mmap.mmap]:
    """Return the memory that came as open files.

    Raises:
        MemoryError: there is not as much.
    """
    try:
        return [mmap.mmap(file, 0) for file in files]
    except OSError as error:
        raise MemoryError(str(error)) from None
    finally:
        for file in files:
            os.close(file)


def _answer(
    form: forms.Form, request: dict[str, Any], given: mmap.mmap, room: mmap.mmap
) -> dict[str, Any]:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what user code uses: equal calls shall give equal numbers
    shape, dtype = request["shape"], np.dtype(request["dtype"])
    values = np.frombuffer(given, dtype, math.prod(shape)).reshape(shape)
    block = forms.Block(values, tuple(request["dimensions"]), request["geometries"])
    look, context, expected = request["look"], request["context"], request["expected"]
    if look is not None:
        look = look | forms.declared(form, block.dimensions, context)
        known = _known(look, block)
        if known is not None:
            return {**known, "dtype": np.dtype(look["dtype"]).str, "where": form.where}
        expected = look.get("dtype")
    with np.errstate(all="ignore"):
        result = form.call(block, context)
    made = np.asarray(result.array)
    if made.dtype.kind not in "biuf" or made.dtype.itemsize > 8:  # noqa: PLR2004 - bytes
        raise Unusable(
            f"{form.where} returns an array of type {made.dtype}; it must be of numbers or truths."
        )
    _check_type(made, expected, form.where, declared=look is not None)
    if made.nbytes > request["room"]:
        raise Unusable(
            f"{form.where} returns an array of shape {made.shape} and type {made.dtype}, "
            f"{made.nbytes} bytes; {_wanted(request)} here."
        )
    made = made.astype(made.dtype.newbyteorder("="), copy=False)
    if made.size:
        np.copyto(np.frombuffer(room, made.dtype, made.size).reshape(made.shape), made)
    told = [{"name": d["name"], "labels": _returned(d)} for d in result.dimensions]
    if look is not None:
        spatial = {str(d["name"]) for d in block.dimensions if d["kind"] == "spatial"}
        _check_labels(told, made.shape, look, form.where, spatial)
    return {
        "shape": list(made.shape),
        "dtype": made.dtype.str,
        "dimensions": told,
        "where": form.where,
    }


def _wanted(request: Mapping[str, Any]) -> str:
    if request["returns"] is None:
        return f"at most {request['room']} bytes are expected"
    return f"as it was declared, or looked at first, its shape is {tuple(request['returns'])}"


def _known(look: Mapping[str, Any], block: forms.Block) -> dict[str, Any] | None:
    """Return what a result will be like where all of it is declared; else None."""
    names = look.get("dimensions")
    if names is None or look.get("dtype") is None:
        return None
    sizes = dict(zip(block.names, block.array.shape, strict=True))
    before = {str(d["name"]): d for d in block.dimensions}
    names = [*names, *(n for n, d in before.items() if d["kind"] == "spatial" and n not in names)]
    told, shape = [], []
    for name in names:
        labels = look.get("labels", {}).get(name)
        if labels is None and name not in before:
            return None
        if labels is None:
            labels = _returned(before[name])
        told.append({"name": name, "labels": labels})
        shape.append(sizes[name] if labels is None else len(labels))
    return {"shape": shape, "dimensions": told}


def _check_type(made: Any, expected: str | None, where: str, *, declared: bool) -> None:
    """Refuse numbers of another type than declared, or than those of the first block."""
    if expected is None or made.dtype.newbyteorder("=") == np.dtype(expected):
        return
    wanted = np.dtype(expected)
    first = "it is declared as" if declared else "where its result was looked at first it was"
    raise Unusable(
        f"{where} returns {made.dtype} here, and {first} {wanted}. Nothing is cast silently: end "
        f"it with `.astype({str(wanted)!r})`, or another type that holds all results."
    )


def _check_labels(
    told: list[dict[str, Any]],
    shape: tuple[int, ...],
    look: Mapping[str, Any],
    where: str,
    spatial: set[str],
) -> None:
    """Refuse other dimensions or labels than declared; label what comes back without labels."""
    names = [one["name"] for one in told]
    declared = look.get("dimensions")
    if declared is not None and set(names) | spatial != set(declared) | spatial:
        raise Unusable(
            f"{where} returns the dimensions ({', '.join(names)}), and declared are "
            f"({', '.join(declared)})."
        )
    for name, labels in look.get("labels", {}).items():
        place = names.index(name) if name in names else -1
        if place < 0:
            raise Unusable(
                f"Labels are declared for the dimension {name!r}, and {where} returns "
                f"({', '.join(names)})."
            )
        if told[place]["labels"] is None and shape[place] == len(labels):
            told[place]["labels"] = labels
        if told[place]["labels"] != labels:
            found = told[place]["labels"]
            raise Unusable(
                f"{where} returns {shape[place] if found is None else found} along {name!r}, and "
                f"declared are {labels}."
            )


def _returned(dimension: Any) -> Any:
    labels = dimension.get("labels")
    return labels if isinstance(labels, list) else None


def _told(error: BaseException) -> dict[str, Any]:
    """Say what went wrong and where in the user's code."""
    if isinstance(error, Unusable):
        return {"kind": "unusable", "message": str(error)[:_MESSAGE], "trace": ""}
    if isinstance(error, MemoryError):
        return {"kind": "memory", "message": "", "trace": _trace(error.__traceback__)}
    try:
        text = "".join(traceback.format_exception_only(error)).strip()[:_MESSAGE]
    except BaseException:  # noqa: BLE001 - the text may be large, or made by the user's code
        text = f"{type(error).__name__}, whose message cannot be shown"
    return {"kind": "raised", "message": text, "trace": _trace(error.__traceback__)}


def _trace(trace: TracebackType | None) -> str:
    """Return where it happened, from the user's first line on."""
    frames = traceback.extract_tb(trace)
    first = next((n for n, f in enumerate(frames) if f.filename == forms.FILE), len(frames))
    lines = []
    for place in frames[first:][-_TRACE_FRAMES:]:
        short = "/".join(place.filename.split("/")[-2:])
        lines.append(f"  File {short!r}, line {place.lineno}, in {place.name}")
        if place.line:
            lines.append(f"    {place.line[:_LINE]}")
    return "\n".join(lines)
