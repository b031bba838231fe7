"""A million items: what a search of a place and a time takes in this library."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measure import Contestant, race
from bench.report import Row, Table, ms
from bench.stac.items import BEGUN, EAST, NORTH, SOUTH, VERSION, WEST, made_items
from bench.stac.ours import put
from terrazzo.catalog import open_catalog
from terrazzo.catalog.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.options import Options

DAYS = 10 * 365
"""The items lie in so many days."""
PERIODS = {"90 days": 90, "a year": 365, "ten years": DAYS}
TASKS = {
    "documents": "all documents",
    "stored": "all, as the server gives them",
    "ten": "the first ten documents",
}
NINETY = "90 days, all documents"
SEARCHES = 30
_DEGREES = 10.0


def measured(folder: Path, count: int, options: Options) -> tuple[Table, float]:
    """Return the table and the CPU seconds of a search of 90 days."""
    path = folder / f"catalogue-{count}-v{VERSION}-schema{SCHEMA_VERSION}.sqlite"
    if not path.exists():
        options.say(f"putting {count:,} items into {path}")
        part = path.with_suffix(".part")
        for old in path.parent.glob(part.name + "*"):
            old.unlink()
        put(part, made_items(count, days=DAYS, assets=1))
        part.replace(path)
    one = Contestant("Terrazzo", "bench.stac.large:contestant", {"path": str(path)})
    tasks = [f"{period}, {how}" for how in TASKS.values() for period in PERIODS]
    outcome = race([one], tasks, options.runs, options.say)
    table = Table(f"{count:,} items, 10 x 10 degrees", ("CPU ms", "items"))
    for task in tasks:
        took = outcome.timings[task, one.name].cpu / SEARCHES
        found = float(outcome.arrays[task, one.name]["found"].mean())
        table.rows.append(Row(task, (ms(took), f"{found:.1f}")))
    return table, outcome.timings[NINETY, one.name].cpu / SEARCHES


def contestant(parameters: Mapping[str, Any]) -> dict[str, Callable[[], dict[str, np.ndarray]]]:
    """Return the tasks: searches with a period each."""
    catalog = open_catalog(Path(parameters["path"]), read_only=True)
    draw = random.Random(7)
    corners = [(draw.uniform(WEST, EAST - 10), draw.uniform(SOUTH, NORTH - 10)) for _ in range(30)]

    def task(days: int, how: str) -> Callable[[], dict[str, np.ndarray]]:
        firsts = [BEGUN + timedelta(days=draw.randrange(DAYS - days + 1)) for _ in corners]
        asked = [
            {
                "bbox": (west, south, west + _DEGREES, south + _DEGREES),
                "interval": (first.isoformat(), (first + timedelta(days=days)).isoformat()),
                "limit": 10 if how == "ten" else None,
            }
            for (west, south), first in zip(corners, firsts, strict=True)
        ]
        search = catalog.stored if how == "stored" else catalog.search
        return lambda: {"found": np.array([sum(1 for _ in search(**one)) for one in asked])}

    return {
        f"{period}, {text}": task(days, how)
        for how, text in TASKS.items()
        for period, days in PERIODS.items()
    }
