"""The report: `docs/benchmarks.md`."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import rasterio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.dataset import Dataset

MEASURED = (
    "terrazzo",
    "rio-tiler",
    "odc-stac",
    "odc-loader",
    "dask",
    "xarray",
    "flox",
    "exactextract",
    "xvec",
    "rasterstats",
    "geocube",
    "rasterio",
    "rio-cogeo",
    "scipy",
    "numpy",
    "numba",
    "geopandas",
    "pystac",
    "orjson",
    "pypgstac",
    "stac-fastapi-pgstac",
)
QUICK = "**A quick run, to see that everything works: quote no number of it.**"
SLOWER = 1.05
"""Ratios above are called slower; within 5% nobody can tell."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    cells: tuple[str, ...]
    ratio: float | None = None
    """Our CPU time by the best peer's, where this is a line of ours that has one."""


@dataclass(frozen=True)
class Target:
    """A number that we set ourselves."""

    text: str
    """What of, with its unit."""
    wanted: str
    """The number, with `at most` or `at least`."""
    found: str
    """What was measured."""
    met: bool
    timed: bool = True
    """Whether it depends on the machine; what does not must be met wherever this runs."""

    @classmethod
    def at_most(cls, text: str, limit: float, found: float, *, timed: bool = True) -> Target:
        """Hold a number to a limit from above."""
        return cls(text, f"at most {limit:g}", figure(found), found <= limit, timed)

    @classmethod
    def at_least(cls, text: str, limit: float, found: float) -> Target:
        """Hold a number to a limit from below."""
        return cls(text, f"at least {limit:g}", figure(found), found >= limit)


@dataclass(frozen=True)
class Picture:
    """A plot below the tables of a section."""

    path: str
    """Relative to the page."""
    text: str
    """What it shows."""


@dataclass
class Table:
    """Numbers of one kind."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Where results differ, so that times must not be compared."""


@dataclass
class Section:
    """One benchmark."""

    name: str
    title: str
    compared: str
    """What is measured, and under which conditions."""
    apart: str
    """What is not comparable."""
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Differences between the results of the contestants."""
        return [problem for table in self.tables for problem in table.problems]

    @property
    def broken(self) -> list[Target]:
        """Targets that were missed and depend on no machine."""
        return [target for target in self.targets if not (target.met or target.timed)]


def ms(value: float) -> str:
    """Write seconds as milliseconds."""
    return f"{value * 1e3:.1f}" if value < 0.0995 else f"{value * 1e3:.0f}"


def seconds(value: float) -> str:
    """Write seconds."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def figure(value: float) -> str:
    """Write a number with three digits, or those before the point."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def page(
    sections: Sequence[Section],
    data: Dataset,
    command: str,
    runs: int,
    picture: Picture | None = None,
    title: str = "Benchmarks",
) -> str:
    """Return the whole report as Markdown; `picture` belongs to the summary."""
    today = datetime.now(UTC).date().isoformat()
    parts = [
        f"# {title}",
        (
            f"Written by `{command}` on {today}; do not edit. Times are medians of {runs} runs "
            "(of one run where that takes minutes) after one to warm up; all contestants of a "
            "table took turns in one run on one machine, each in a process of its own. CPU times "
            "(all threads) are the ones to compare; wall times also say how busy the machine was. "
            "*Peak* is the highest resident memory of the process, libraries included. *Agrees* is "
            "the share of valid pixels that equal the peer's, *best peer* the one that takes least "
            "CPU time."
        ),
        *([QUICK] if "--quick" in command else []),
        _summary(sections),
        *([_shown(picture)] if picture else []),
        "## Machine and versions",
        _bullets([*machine(), *versions()]),
        "## Data",
        _data(data),
        *(_section(section) for section in sections),
    ]
    return "\n\n".join(parts) + "\n"


def ratios(sections: Sequence[Section]) -> dict[str, float]:
    """Return our CPU time by the best peer's, by table and row."""
    return {
        f"{table.title}: {row.name}": row.ratio
        for section in sections
        for table in section.tables
        for row in table.rows
        if row.ratio is not None
    }


def _summary(sections: Sequence[Section]) -> str:
    """Say plainly which targets are missed, where we are slower and where results differ."""
    rows = ratios(sections)
    slower = [
        f"{name}: {ratio:.2f} x the CPU time" for name, ratio in rows.items() if ratio > SLOWER
    ]
    faster = sum(ratio < 1 / SLOWER for ratio in rows.values())
    lines = ["## In short"]
    if rows:
        lines.append(
            f"Of {len(rows)} comparisons with the best peer, Terrazzo takes less CPU time in "
            f"{faster} and more in {len(slower)}."
        )
    if slower:
        lines.append("Slower than the peer:\n\n" + _bullets(slower))
    targets = [target for section in sections for target in section.targets]
    if targets:
        met = sum(target.met for target in targets)
        lines.append(f"Of {len(targets)} targets that we set ourselves, {met} are met:")
        rows = [[t.text, t.wanted, t.found, "met" if t.met else "**missed**"] for t in targets]
        lines.append(_table(["target", "wanted", "measured", ""], rows))
    problems = [problem for section in sections for problem in section.problems]
    if problems:
        lines.append("Results differ, so these times cannot be compared:\n\n" + _bullets(problems))
    return "\n\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ruled, *rows))


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _section(section: Section) -> str:
    parts = [f"## {section.title}", section.compared, f"Not compared: {section.apart}"]
    for table in section.tables:
        rows = [[row.name, *row.cells] for row in table.rows]
        parts.append(f"### {table.title}\n\n" + _table(["", *table.columns], rows))
    parts += [_shown(picture) for picture in section.pictures]
    return "\n\n".join(parts)


def _shown(picture: Picture) -> str:
    return f"![{picture.text}]({picture.path})"


def machine() -> list[str]:
    """Describe the machine without naming it."""
    return [
        f"{len(os.sched_getaffinity(0))} cores, {_processor()}, {_memory_gb():.0f} GB memory",
        (
            f"{platform.system()} {platform.release().split('-')[0]}, {_distribution()}, Python "
            f"{platform.python_version()}"
        ),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "no /etc/os-release"


def versions() -> list[str]:
    """Return the versions of everything that was measured."""
    found = []
    for name in MEASURED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    return [", ".join(found) + f", GDAL {rasterio.__gdal_version__}"]


def _data(data: Dataset) -> str:
    facts = data.facts()
    return (
        f"{data.dates} dates of {data.size} x {data.size} pixels like Sentinel-2 L2A, made by "
        "`bench/data.py`: B04 and B08 (uint16, 10 m), SCL (uint8, 20 m), COGs with internal tiles "
        "of 512 pixels, deflate with predictor 2 (none for SCL), overviews; fields, seasons, "
        "clouds, a swath edge, sensor noise. Full resolution "
        f"{facts['decoded_mb']:.0f} MB, files with overviews {facts['stored_mb']:.0f} MB."
    )
