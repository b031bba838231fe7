"""What a profile measured: time by kind of work, pixels read, memory, workers; as text and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.engine.demand import size_text

if TYPE_CHECKING:
    from terrazzo.spans import Recorder

OTHER = "other"
"""Name of the row for what no span tells of."""
_NAME_WIDTH = 44


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of work: all spans of one name, without the spans inside them."""

    name: str
    """`catalogue`, `open`, `decode`, `process ndvi` and so on."""
    calls: int
    """How often it was done."""
    cpu_seconds: float
    """CPU time of the threads that did it."""
    wall_seconds: float
    """Time on the clock, added over threads; waiting counts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read; pixels are those of all files, bands and dates."""

    pixels_needed: int | None
    """That the result is made of, each once; None where polygons decide what is needed."""
    pixels_requested: int
    """That reads asked for: with what blocks and resampling take around them."""
    pixels_decoded: int
    """That were unpacked, as files come in tiles."""
    bytes_decoded: int
    """Bytes of those."""
    tiles_decoded: int
    """Internal tiles that were unpacked."""
    tiles_found: int
    """Internal tiles that were in the cache when they were asked for."""
    files: int
    """Files that hold needed pixels."""
    file_bytes: int
    """Size of those files, compressed as they are; 0 for remote ones."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was held; bytes."""

    peak_bytes: int
    """Most that the process had resident, libraries and all."""
    before_bytes: int
    """What it had resident before."""
    resets: bool
    """Whether the peak is that of this run alone; otherwise it is since the process began."""
    block_bytes: int
    """What the plan says that the arrays of one block (or tile) take at most."""
    cache_bytes: int
    """Bound of the cache of decoded tiles."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who computed the blocks, from the first block to the last."""

    count: int
    """Threads."""
    blocks: int
    """Blocks that they computed."""
    cpu_seconds: float
    """CPU time of the process meanwhile."""
    wall_seconds: float
    """Time on the clock meanwhile."""

    @property
    def efficiency(self) -> float:
        """CPU time / (time x workers): 1 = all of them worked all the time."""
        return self.cpu_seconds / max(self.wall_seconds * self.count, 1e-9)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, or one tile."""

    name: str
    """`run`; or for a tile `first` (everything is opened), `cold` (nothing decoded), `warm`."""
    cpu_seconds: float
    """CPU time of the whole process."""
    wall_seconds: float
    """Time on the clock."""
    parts: tuple[Part, ...]
    """Where the CPU time went, most first."""
    reading: Reading
    """What was read."""
    memory: Memory
    """What was held."""
    workers: Workers | None = None
    """Who computed the blocks; None for a tile."""

    @property
    def other_seconds(self) -> float:
        """CPU time outside of all spans: Python between them, and threads that libraries have."""
        return max(self.cpu_seconds - sum(part.cpu_seconds for part in self.parts), 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        told = asdict(self)
        told["other_seconds"] = self.other_seconds
        if self.workers is not None:
            told["workers"]["efficiency"] = self.workers.efficiency
        return told


@dataclass(frozen=True, slots=True)
class Profile:
    """Where time and memory of a run or a tile went."""

    digest: str
    """Digest of the graph."""
    what: str
    """What was measured, for people."""
    measured: tuple[Measured, ...]
    """One for a run; for a tile `first`, `cold` and `warm`."""
    repeats: int = 1
    """How often each was done; of them the one with the median CPU time is here."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "digest": self.digest,
            "what": self.what,
            "repeats": self.repeats,
            "measured": [one.to_json() for one in self.measured],
        }

    def to_text(self) -> str:
        """Return tables for people."""
        often = f", median of {self.repeats}" if self.repeats > 1 else ""
        lines = [f"graph   {self.digest[:16]}  {self.what}{often}"]
        for one in self.measured:
            lines += ["", *_table(one, named=len(self.measured) > 1), "", *_facts(one)]
        return "\n".join(lines)


def parts_of(recorder: Recorder) -> tuple[Part, ...]:
    """Return what a recorder heard, what took most CPU time first."""
    parts = [
        Part(name, spent.calls, spent.cpu_seconds, spent.wall_seconds)
        for name, spent in recorder.spent.items()
    ]
    return tuple(sorted(parts, key=lambda part: (-part.cpu_seconds, part.name)))


def _table(one: Measured, *, named: bool) -> list[str]:
    """Return a row per part, then what is left, then the sums; ms where all take less than 1 s."""
    factor, unit, digits = (1, "s", 3) if one.cpu_seconds >= 1 else (1000, "ms", 2)
    heads = (one.name if named else "what", "calls", f"CPU {unit}", "%", f"wall {unit}")
    rows = [heads]

    def row(name: str, calls: int | None, cpu: float, wall: float | None) -> None:
        rows.append(
            (
                name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 3] + "...",
                "" if calls is None else f"{calls:,}",
                f"{cpu * factor:.{digits}f}",
                f"{100 * cpu / max(one.cpu_seconds, 1e-9):.1f}",
                "" if wall is None else f"{wall * factor:.{digits}f}",
            )
        )

    for part in one.parts:
        row(part.name, part.calls, part.cpu_seconds, part.wall_seconds)
    row(OTHER, None, one.other_seconds, None)
    row("total", None, one.cpu_seconds, one.wall_seconds)
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(heads))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    ]


def _facts(one: Measured) -> list[str]:
    """Return the lines under a table."""
    reading, memory, workers = one.reading, one.memory, one.workers
    base = reading.pixels_needed
    told = [] if base is None else [f"{_count(base)} pixels needed"]
    told.append(
        f"{_count(reading.pixels_requested)} requested{_ratio(reading.pixels_requested, base)}"
    )
    told.append(f"{_count(reading.pixels_decoded)} decoded{_ratio(reading.pixels_decoded, base)}")
    lines = [f"read    {', '.join(told)}"]
    files = f"{reading.files:,} files" + (
        f" of {size_text(reading.file_bytes)}" if reading.file_bytes else ""
    )
    lines.append(
        f"        {reading.tiles_decoded:,} tiles decoded to {size_text(reading.bytes_decoded)}, "
        f"{reading.tiles_found:,} found in the cache; {files}"
    )
    since = "" if memory.resets else " since the process began"
    at_once = f" per block x {workers.count} workers" if workers is not None else ""
    lines.append(
        f"memory  peak {size_text(memory.peak_bytes)} resident{since}, "
        f"{size_text(memory.before_bytes)} before; the plan says "
        f"{size_text(memory.block_bytes)}{at_once}, the cache may hold "
        f"{size_text(memory.cache_bytes)}"
    )
    if workers is not None:
        used = workers.cpu_seconds / max(workers.wall_seconds, 1e-9)
        threads = "1 thread" if workers.count == 1 else f"{workers.count} threads"
        lines.append(
            f"workers {threads}, {used:.2f} of {workers.count} cores used while "
            f"{workers.blocks:,} blocks were computed in {workers.wall_seconds:.2f} s"
        )
    return lines


def _ratio(count: int, base: int | None) -> str:
    return f" ({count / base:.2f})" if base else ""


def _count(number: int) -> str:
    """Return a number of pixels for people."""
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{name}"
    return str(number)
