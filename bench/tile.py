"""Map tiles: three bands of one date, and the median NDVI of all dates, beside rio-tiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import morecantile
import numpy as np
from rasterio.warp import transform_bounds

from bench.contestants.tiles import EDGE
from bench.dataset import CRS
from bench.graphs import THREE_BANDS
from bench.measure import Contestant, fresh, race
from bench.overviews import exact_nearest
from bench.report import Row, Section, Table, Target, ms
from terrazzo.geo.tiling import web_mercator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

ZOOMS = (10, 12, 14)
PEER = "rio-tiler"
STATES = {"new": "Terrazzo, new layer", "cold": "Terrazzo, cold", "warm": "Terrazzo, warm"}
OURS = "bench.contestants.terrazzo_tiles:contestant"
THEIRS = "bench.contestants.rio_tiler_tiles:contestant"
SUITES = {"rgb": "Three bands of one date, PNG", "median": "NDVI, median of all dates, PNG"}
TARGETS_MS = {
    ("rgb", "cold"): 20,
    ("rgb", "warm"): 8,
    ("median", "cold"): 150,
    ("median", "warm"): 20,
}
ALIKE = {"rgb": 0.90, "median": 0.90}
"""Share of valid pixels that must be alike; both resample to the nearest pixel, rio-tiler along an
approximated transform, so that some pixels are the neighbour's."""
MASKS_ALIKE = 0.97
EXACT = 0.995
"""Share of our pixels that must be the exactly nearest ones: a centre may lie on an edge, or nearer
to one than the error that interpolated coordinates may have."""
TOLERANCE = {"rgb": 1e-6, "median": 2e-6}
"""What alike means: reflectance, index (float32)."""


def tiles(data: Dataset, zoom: int, count: int) -> list[tuple[int, int]]:
    """Return columns and rows of tiles that the data fills most of, spread by chance."""
    matrix = morecantile.tms.get("WebMercatorQuad")
    west, south, east, north = transform_bounds(CRS, "EPSG:4326", *data.bounds)
    there = list(matrix.tiles(west, south, east, north, [zoom]))
    left, bottom, right, top = data.bounds

    def share(tile: Any) -> float:
        box = transform_bounds("EPSG:3857", CRS, *matrix.xy_bounds(tile))
        width = min(right, box[2]) - max(left, box[0])
        height = min(top, box[3]) - max(bottom, box[1])
        return max(width, 0) * max(height, 0)

    best = sorted(there, key=share, reverse=True)
    best = [tile for tile in best if share(tile) > 0.5 * share(best[0])]
    order = np.random.default_rng(zoom).permutation(len(best))[:count]
    return [(best[i].x, best[i].y) for i in order]


def likeness(one: np.ndarray, other: np.ndarray, tolerance: float) -> tuple[float, float]:
    """Return the shares of pixels with equal validity, and of valid pixels with equal values."""
    seen, there = np.isfinite(one), np.isfinite(other)
    both = seen & there
    alike = np.abs(one[both] - other[both]) <= tolerance
    return float((seen == there).mean()), float(alike.mean()) if alike.size else 1.0


def run(data: Dataset, options: Options) -> Section:
    """Race the tiles and compare them."""
    chosen = {str(zoom): tiles(data, zoom, 2 if options.quick else 6) for zoom in ZOOMS}
    shared = data.parameters | {"tiles": chosen, "suites": list(SUITES)}
    contestants = [
        *(Contestant(name, OURS, shared | {"state": state}) for state, name in STATES.items()),
        Contestant(PEER, THEIRS, shared),
    ]
    names = [f"{suite} z{zoom}" for suite in SUITES for zoom in ZOOMS]
    outcome = race(contestants, names, options.runs, options.say)
    most = max(map(len, chosen.values()))
    section = Section(
        "tile",
        "Map tiles",
        f"256 px Web Mercator tiles ({most} per zoom where there are as many), nearest neighbour, "
        "in one process and thread, per tile. *New layer*: graph parsed, catalogue searched, plan "
        "made, files opened and all pixels decoded for each tile. *Cold*: the layer is known, its "
        "cache of decoded pixels is emptied before each tile. *Warm*: the layer has been asked for "
        "the same tiles before. rio-tiler opens its files for each tile by design, so that it has "
        "one state. *Exact* is the share of pixels that are those found by projecting each centre "
        "on its own (first band). The operating system has cached the files for all.",
        "the search for items, which rio-tiler is spared: it is given them. HTTP is below.",
    )
    for suite, title in SUITES.items():
        section.tables.append(_table(suite, title, outcome, chosen, data))
    section.targets += _targets(outcome, chosen)
    section.tables.append(_first(data, chosen, options))
    return section


def _table(
    suite: str, title: str, outcome: Outcome, chosen: dict[str, Any], data: Dataset
) -> Table:
    columns = ["CPU ms", "wall ms", "peak MB", "CPU / rio-tiler", "agrees"]
    table = Table(title, (*columns, "exact") if suite == "rgb" else tuple(columns))
    for zoom in ZOOMS:
        task = f"{suite} z{zoom}"
        number, peer = len(chosen[str(zoom)]), outcome.timings[task, PEER]
        for name in (*STATES.values(), PEER):
            timing = outcome.timings[task, name]
            cells = [
                ms(timing.cpu / number),
                ms(timing.wall / number),
                f"{timing.peak_mb:.0f}",
                f"{timing.cpu / peer.cpu:.2f}",
                "" if name == PEER else _checked(suite, task, name, outcome, table),
            ]
            if suite == "rgb":
                share = exactness(outcome.arrays[task, name], zoom, data)
                cells.append(f"{share:.1%}")
                if name != PEER and share < EXACT:
                    table.problems.append(f"{task}, {name}: {share:.2%} of the pixels are exact.")
            ratio = None if name == PEER else timing.cpu / peer.cpu
            table.rows.append(Row(f"z{zoom}, {name}", tuple(cells), ratio=ratio))
    return table


def _targets(outcome: Outcome, chosen: Mapping[str, Any]) -> list[Target]:
    """Hold the zoom that takes longest to the targets."""
    targets = []
    for (suite, state), limit in TARGETS_MS.items():
        took = {
            zoom: 1e3 * outcome.timings[f"{suite} z{zoom}", STATES[state]].cpu / len(places)
            for zoom, places in chosen.items()
        }
        worst = max(took, key=lambda zoom: took[zoom])
        text = f"{SUITES[suite]}, {state}: CPU ms per tile, worst zoom (z{worst})"
        targets.append(Target.at_most(text, limit, took[worst]))
    return targets


def exactness(tiles_made: Mapping[str, np.ndarray], zoom: int, data: Dataset) -> float:
    """Return the share of the first band's pixels that are the exactly nearest ones."""
    matrix, shares = web_mercator(EDGE), []
    for place, pixels in tiles_made.items():
        x, y = map(int, place.split("/"))
        window = matrix.window(zoom, x, y)
        file = data.asset(data.days[0], THREE_BANDS[0])
        right = exact_nearest(file, matrix.grid(zoom), window, data.size)
        same = np.isclose(pixels[0], right, rtol=0, atol=TOLERANCE["rgb"], equal_nan=True)
        shares.append(same[np.isfinite(right)].mean())
    return float(np.mean(shares))


def _checked(suite: str, task: str, name: str, outcome: Outcome, table: Table) -> str:
    mine, theirs = outcome.arrays[task, name], outcome.arrays[task, PEER]
    pairs = [likeness(mine[key], theirs[key], TOLERANCE[suite]) for key in theirs]
    masks, values = (float(np.mean(shares)) for shares in zip(*pairs, strict=True))
    if masks < MASKS_ALIKE or values < ALIKE[suite]:
        table.problems.append(
            f"{task}, {name}: {masks:.1%} of the masks and {values:.1%} of the values are those of "
            f"rio-tiler; at least {MASKS_ALIKE:.0%} and {ALIKE[suite]:.0%} should be."
        )
    return f"{values:.1%}"


def _first(data: Dataset, chosen: dict[str, Any], options: Options) -> Table:
    """Measure the first tile of a process, which somebody waits for after a start."""
    table = Table("First median tile of a new process", ("imports CPU ms", "tile CPU ms", "both"))
    one = data.parameters | {"tiles": {"12": chosen["12"][:1]}, "suites": ["median"]}
    contestants = [
        Contestant("Terrazzo", OURS, one | {"state": "new"}),
        Contestant("rio-tiler", THEIRS, one),
    ]
    measured = fresh(contestants, "median z12", 1 if options.quick else 3)
    for name, (start, first) in measured.items():
        ratio = first / measured["rio-tiler"][1]
        cells = (ms(start), ms(first), ms(start + first))
        table.rows.append(Row(f"z12, {name}", cells, ratio=ratio if name == "Terrazzo" else None))
    return table
