"""What a composite costs as dates, bands, pixels and blocks become more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench import links, plots
from bench.comparison import DECODE, OURS
from bench.contestants.cubes import BLOCK
from bench.measure import Contestant, race
from bench.report import Picture, Row, Section, Table, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.dataset import Dataset
    from bench.options import Options

GRAPHS = "bench.contestants.terrazzo_graphs:contestant"
DECODING = "bench.contestants.decoding:by_block"
SMALL = 1024
"""Edge of the window while dates and bands become more."""
MOST_RUNS = 3
USUAL = ("B04", "B08", "SCL")
TIMES: Mapping[str, Sequence[int]] = {
    "dates": (1, 2, 5, 10, 20, 50, 100),
    "bands": (1, 2, 4, 6, 8, 10),
    "window": (256, 512, 1024, 2048, 4096, 8192, 10980),
    "block": (128, 256, 512, 1024, 2048, 4096),
}
QUICK = {"dates": (1, 4), "bands": (1, 4), "window": (512, 1024), "block": (256, 512)}


@dataclass(frozen=True)
class Axis:
    """What becomes more."""

    name: str
    label: str
    """Of the plot, with the unit."""
    title: str
    specification: Callable[[int], dict[str, Any]]
    """What the contestants are told for a size."""
    proportional: bool = True
    """Whether the cost should grow with it; else it should stay."""

    def layers(self, spec: Mapping[str, Any]) -> int:
        """Return how many pixels of 10 m are read, over all dates: the unit of cost."""
        bands = len(spec["bands"]) if self.name == "bands" else 1
        return int(spec["window"]) ** 2 * int(spec["data"]["dates"]) * bands


def run(data: Dataset, options: Options) -> Section:
    """Measure along each axis, and draw it."""
    few = replace(options, runs=min(options.runs, MOST_RUNS))
    section = Section(
        "scaling",
        "Scaling",
        "CPU time of the masked NDVI median (of the median of each band where bands become more) "
        "in memory, one thread, files opened anew in each run, beside decoding the same blocks "
        "with rasterio. Dates beyond those of the scene and further bands are hard links to its "
        "files, each opened and decoded as a file of its own. Where the cost should be "
        "proportional, *ns* stays the same from line to line.",
        "the peers: their times for one size are above.",
    )
    for axis in _axes(data):
        sizes = [n for n in (QUICK if options.quick else TIMES)[axis.name] if _fits(axis, n, data)]
        _measured(axis, sizes, section, few)
    return section


def _fits(axis: Axis, size: int, data: Dataset) -> bool:
    return axis.name in {"dates", "bands"} or size <= data.size


def _axes(data: Dataset) -> tuple[Axis, ...]:
    long, wide, edge = links.long(data), links.wide(data), min(data.size, SMALL)
    whole = min(data.size, max(TIMES["block"]))

    def bands(count: int) -> dict[str, Any]:
        chosen = list(links.BANDS[:count])
        more = {"graph": "bands_median", "options": {"bands": chosen}, "bands": chosen}
        return composite(wide, edge, **more)

    return (
        Axis("dates", "dates", "Dates", lambda n: composite(long.short(n), edge)),
        Axis("bands", "bands", "Bands", bands),
        Axis("window", "edge of the window, pixels", "Window", lambda n: composite(data, n)),
        Axis(
            "block",
            "edge of a block, pixels",
            "Block",
            lambda n: composite(data, whole, block=n),
            proportional=False,
        ),
    )


def composite(data: Dataset, edge: int, **more: Any) -> dict[str, Any]:
    """Return what a contestant is told that computes the masked NDVI median of a window."""
    usual = {"graph": "composite", "block": BLOCK, "threads": 1, "bands": list(USUAL)}
    return {**usual, "data": data.parameters, "window": edge, **more}


def _measured(axis: Axis, sizes: Sequence[int], section: Section, options: Options) -> None:
    specs = {size: axis.specification(size) for size in sizes}
    tasks = {f"{axis.name} {size}": spec for size, spec in specs.items()}
    everyone = [
        Contestant(OURS, GRAPHS, {"tasks": tasks}),
        Contestant(DECODE, DECODING, {"tasks": tasks}),
    ]
    outcome = race(everyone, list(tasks), options.runs, options.say)
    columns = ("CPU s", "ns per pixel-date", "decoding: CPU s", "ns per pixel-date", "peak MB")
    if axis.name == "bands":
        columns = tuple(column.replace("pixel-date", "pixel-date-band") for column in columns)
    edges = {spec["window"] for spec in specs.values()}
    where = f", window of {min(edges)} pixels" if len(edges) == 1 else ""
    table = Table(f"{axis.title}{where}", columns)
    series: dict[str, dict[float, float]] = {OURS: {}, DECODE: {}}
    for size, spec in specs.items():
        cells: list[str] = []
        for name, points in series.items():
            cpu = outcome.timings[f"{axis.name} {size}", name].cpu
            each = 1e9 * cpu / axis.layers(spec)
            points[size] = cpu if axis.proportional else each
            cells += [seconds(cpu), f"{each:.1f}"]
        cells.append(f"{outcome.timings[f'{axis.name} {size}', OURS].peak_mb:.0f}")
        table.rows.append(Row(str(size), tuple(cells)))
    section.tables.append(table)
    _draw(axis, series, section, options)


def _draw(
    axis: Axis, series: Mapping[str, Mapping[float, float]], section: Section, options: Options
) -> None:
    path = options.images / f"bench-{axis.name}.svg"
    if axis.proportional:
        power = 2 if axis.name == "window" else 1
        labels = (axis.label, "CPU time, s")
        plots.proportional(path, series, labels, f"{axis.title}: CPU time", power=power)
    else:
        labels = (axis.label, "CPU time, ns per pixel and date")
        plots.level(path, series, labels, f"{axis.title}: CPU time per pixel and date")
    text = f"CPU time against {axis.label}, of Terrazzo and of decoding alone"
    section.pictures.append(Picture(f"{options.images.name}/{path.name}", text))
