"""Feeds the machine: planes of stored numbers in, the cube of a fused group out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from terrazzo.cube import all_valid
from terrazzo.cube.pixels import compute_dtype, is_all_valid
from terrazzo.engine import machine, operations
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.spots import spots_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Mask, Plane, Values
    from terrazzo.engine.program import Place, Program
    from terrazzo.engine.recording import Recording
    from terrazzo.geo.grid import Window

_TYPES = {np.dtype(name).str: code for code, name in enumerate(operations.TYPES)}
_LOOKUP = (
    operations.ROWS,
    operations.COLUMNS,
    operations.INDEX,
    operations.STRIDE,
    operations.ACROSS,
)
PIECE = 512
"""Pixels; the edge of internal tiles of most files, so that pieces are read in place. At most all
dates of a piece are in memory at a time."""
MOST_SPOTS = 0.7
"""Share of a piece from which all of it is computed."""
_BYTES = (operations.TYPES.index("|b1"), operations.TYPES.index("|u1"))


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What the machine must know of one plane; keeps the arrays whose addresses it holds."""

    numbers: tuple[int, ...]
    """A row of the machine's table of loads."""
    facts: tuple[float, float, float]
    """No-data number, scale, offset."""
    kept: tuple[Any, ...]
    """The arrays, which must live while the machine runs."""

    @property
    def lookup(self) -> tuple[int, ...]:
        """What decides where its pixels are; empty where they are in place, or missing."""
        if self.numbers[operations.MODE] in {operations.DIRECT, operations.MISSING}:
            return ()
        return tuple(self.numbers[column] for column in _LOOKUP)

    @property
    def kind(self) -> int:
        """The type of its numbers, a position in `operations.TYPES`."""
        return self.numbers[operations.TYPE]

    @property
    def stride(self) -> int:
        """Pixels from one row to the next."""
        return self.numbers[operations.STRIDE]

    @property
    def is_plain(self) -> bool:
        """Whether numbers are taken as they lie there, all of them or those of a mask."""
        row = self.numbers
        asks = row[operations.NODATA] != operations.NO_NUMBER or row[operations.CROP]
        here = row[operations.MODE] == operations.DIRECT
        return here and row[operations.SCALED] == operations.PLAIN and not asks

    @property
    def is_bytes(self) -> bool:
        """Whether truths of it can be looked up: bytes as they are, or nothing at all."""
        missing = self.numbers[operations.MODE] == operations.MISSING
        plain = self.numbers[operations.SCALED] == operations.PLAIN
        return missing or (plain and self.numbers[operations.TYPE] in _BYTES)


def loads_of_cube(cube: Cube) -> list[Load]:
    """Return the planes of a cube that was computed before, in the order of its axes."""
    shape = cube.values.shape[-2:]
    values = _rows_contiguous(cube.values).reshape(-1, *shape)
    valid: Mask | None = None
    if not is_all_valid(cube.valid):
        valid = _rows_contiguous(cube.valid).reshape(-1, *shape)
    loads = []
    for position, numbers in enumerate(values):
        mask = None if valid is None else _strided_alike(valid[position], numbers)
        loads.append(_load(numbers, mask, operations.DIRECT))
    return loads


def load_of_mask(mask: Mask) -> Load:
    """Return a mask as a plane of truths, valid everywhere."""
    return _load(np.ascontiguousarray(mask), None, operations.DIRECT)


def loads_of_planes(planes: Sequence[Plane | None], inside: Mask | None) -> list[Load]:
    """Return stored numbers; `inside` says which pixels of the window are wanted (None = all)."""
    crop = None if inside is None else np.ascontiguousarray(inside)
    return [_MISSING if plane is None else _load_of(plane, crop) for plane in planes]


class Inputs(Protocol):
    """Gives the planes that a group needs."""

    @property
    def weights(self) -> Mapping[int, float]:
        """Bytes per pixel of a plane of each input that is not in memory anyway."""

    def loads(self, piece: Window, places: Sequence[Place]) -> list[Load]:
        """Return planes on a piece of the window."""

    def mask(self, number: int) -> Mask | None:
        """Return what is valid of an input in the window, where all of it is in memory."""


def compute(
    recording: Recording,
    inputs: Inputs,
    probe: Cube,
    window: Window,
    spots: NDArray[np.int64] | None = None,
) -> Cube:
    """Compute the result of a recording in a window, piece by piece.

    Args:
        recording: what is computed.
        inputs: gives the planes that come in.
        probe: the result without pixels.
        window: the pixels that are wanted.
        spots: see `evaluate`.

    Returns:
        The cube; what is not valid is arbitrary.
    """
    shape = (*probe.values.shape[:-2], window.height, window.width)
    number = recording.passes_on
    known = None if number is None else inputs.mask(number)
    program = recording.program if known is None else recording.values
    planes = (math.prod(shape[:-2]), *shape[-2:])
    none = np.zeros((1, 1, 1), np.uint8)
    is_truth = probe.dtype.kind == "b"
    # Between spots nothing is computed: it is not valid, and can be cast without a warning.
    new = np.empty if spots is None else np.zeros
    truths = new(planes, np.uint8) if is_truth else none
    numbers = none.astype(program.dtype) if is_truth else new(planes, program.dtype)
    valid = new(planes, np.uint8) if program.masked else none
    # What is in memory anyway is run through as it lies there.
    edge = PIECE if inputs.weights else max(window.height, window.width, 1)
    for piece in Blocks(window, edge):
        inside = _inside(spots, piece)
        while inside.size:
            windows, out = (piece, window), (numbers, truths, valid)
            odd = _run(program, recording.tabular, inputs, windows, inside, out)
            if not odd:
                break
            recording.no_bytes(odd)
            program = recording.program if known is None else recording.values
    values = truths.view(np.bool_) if is_truth else numbers.astype(probe.dtype, copy=False)
    if known is None:
        known = valid.view(np.bool_) if program.masked else all_valid(shape)
    return replace(probe, values=values.reshape(shape), valid=known.reshape(shape), window=window)


def _inside(spots: NDArray[np.int64] | None, piece: Window) -> NDArray[np.int64]:
    """Return what of the spots lies in a piece, counted from its corner; most of it is all of it.

    Spots cost time each, and those that overlap each other are more than all of it.
    """
    if spots is None:
        return np.array([[0, 0, piece.height, piece.width]])
    found = spots_within(spots, piece.row, piece.col, piece.height, piece.width)
    pixels = int(found[:, 2] @ found[:, 3])
    return found if pixels <= MOST_SPOTS * piece.pixels else _inside(None, piece)


def _run(
    program: Program,
    tabular: frozenset[Place],
    inputs: Inputs,
    windows: tuple[Window, Window],
    spots: NDArray[np.int64],
    results: tuple[Values, Values, Values],
) -> list[Place]:
    """Run the program on spots of a piece, or return planes that are no bytes against it."""
    piece, window = windows
    parts, _ = program.parts(inputs.weights, piece.pixels)
    place = (piece.row - window.row, piece.col - window.col, piece.height, piece.width)
    known = (program.constants, program.shares, program.steps, program.tables)
    banks = program.banks(piece.pixels)
    before = program.carry((), 0)
    whole = [] if inputs.weights else inputs.loads(piece, program.places)
    for part in parts:
        first, last = np.searchsorted(program.loads, (part.start, part.stop))
        places = program.places[first:last]
        loads = whole[first:last] or inputs.loads(piece, places)
        codes = program.operations[program.loads[first:last], 0]
        odd = [
            where
            for where, load, code in zip(places, loads, codes, strict=True)
            if code == operations.LOAD_BYTES and where in tabular and not load.is_bytes
        ]
        if odd:
            return odd
        table = np.zeros((len(program.places), operations.LOAD_FACTS), np.int64)
        facts = np.zeros((len(program.places), 3))
        lookups: dict[tuple[int, ...], int] = {}
        for row, (load, code) in enumerate(zip(loads, codes, strict=True), int(first)):
            table[row], facts[row] = load.numbers, load.facts
            alike = _BYTES if code == operations.LOAD_BYTES else (_TYPES[program.dtype.str],)
            at_once = banks[0].shape[1] < 2 * piece.width or load.stride == piece.width
            table[row, operations.IN_PLACE] = at_once and load.is_plain and load.kind in alike
            if load.lookup:
                table[row, operations.LOOKUP] = lookups.setdefault(load.lookup, len(lookups) + 1)
        after = program.carry(part.after, piece.pixels)
        machine.run(
            program.operations[part.start : part.stop],
            known,
            table,
            facts,
            (before[0], after[0]),
            results,
            place,
            spots,
            banks,
        )
        before = after
        loads.clear()  # the planes of a part are not held while the next ones are read
    return []


def _load_of(plane: Plane, crop: Mask | None) -> Load:
    numbers, lookup = _rows_contiguous(plane.numbers), plane.lookup
    mode = operations.DIRECT
    if not lookup.direct:
        mode = operations.INDEXED if lookup.index.size else operations.SEPARABLE
    valid = None if plane.valid is None else _strided_alike(plane.valid, numbers)
    kind = operations.PLAIN
    if plane.scaled:
        wide = compute_dtype(numbers.dtype).itemsize > 4  # noqa: PLR2004 - bytes
        kind = operations.IN_FLOAT64 if wide else operations.IN_FLOAT32
    mark, number = operations.NO_NUMBER, 0.0
    if plane.nodata is not None:
        number = float(numbers.dtype.type(plane.nodata))
        mark = operations.A_NAN if math.isnan(number) else operations.A_NUMBER
    load = _load(numbers, valid, mode)
    row = list(load.numbers)
    row[operations.ACROSS] = lookup.window.width
    kept = [*load.kept, lookup]
    if mode == operations.SEPARABLE:
        row[operations.ROWS], row[operations.COLUMNS] = _address(lookup.rows), _address(lookup.cols)
    elif mode == operations.INDEXED:
        row[operations.INDEX] = _address(lookup.index)
    if crop is not None:
        row[operations.CROP], row[operations.CROP_STRIDE] = _address(crop), crop.shape[1]
        kept.append(crop)
    row[operations.NODATA], row[operations.SCALED] = mark, kind
    return Load(tuple(row), (number, plane.scale, plane.offset), tuple(kept))


def _load(numbers: Values, valid: Mask | None, mode: int) -> Load:
    row = [0] * operations.LOAD_FACTS
    row[operations.ADDRESS], row[operations.MODE] = _address(numbers), mode
    row[operations.STRIDE] = numbers.strides[0] // numbers.itemsize if len(numbers) > 1 else 0
    row[operations.TYPE] = _TYPES[numbers.dtype.str]
    if valid is not None:
        row[operations.VALID] = _address(valid)
    return Load(tuple(row), (0.0, 1.0, 0.0), (numbers, valid))


_MISSING = Load(
    tuple(operations.MISSING if k == operations.MODE else 0 for k in range(operations.LOAD_FACTS)),
    (0.0, 1.0, 0.0),
    (),
)


def _rows_contiguous(values: Values) -> Values:
    """Return values whose rows are contiguous and lie a whole number of values apart."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    size = native.itemsize
    well = native.shape[-1] < 2 or native.strides[-1] == size  # noqa: PLR2004 - one has no stride
    apart = native.strides[-2] if native.ndim > 1 and native.shape[-2] > 1 else 0
    usable = well and apart >= 0 and apart % size == 0 and native.size
    return native if usable else np.ascontiguousarray(native)


def _strided_alike(valid: Mask, numbers: Values) -> Mask:
    """Return a mask that is laid out like the numbers: the same place in both has one index."""
    stride = numbers.strides[0] // numbers.itemsize if len(numbers) > 1 else numbers.shape[1]
    if valid.strides == (stride, 1):
        return valid
    spread = np.zeros((valid.shape[0], max(stride, 1)), np.bool_)
    spread[:, : valid.shape[1]] = valid
    return spread


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
