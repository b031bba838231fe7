"""A tally of tiles: which of a run are there, asked again and again at little cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from terrazzo.drivers.described import FILE as DESCRIBED
from terrazzo.drivers.tally import SETTLED_NS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from terrazzo.drivers.depot import Depot

FOLDER: Final = "tiles"
"""Of the tiles, in the folder of the run."""
ASIDE: Final = "failed.txt"
"""Beside what there is of a tile that failed in a share of a run: why."""
_MANY: Final = 10
"""If more than one tile in so many has changed, all are listed at once: a store tells thousands of
names in one answer."""


class TileTally:
    """Which tiles of a run were begun, made or set aside, as of the last look.

    A tile whose folder has not changed is not listed again, nor is one that was made where nobody
    tells of changes.
    """

    def __init__(self, depot: Depot, tiles: Collection[str]) -> None:
        """Begin to watch; nothing is known before the first look.

        Args:
            depot: of the run.
            tiles: their names.
        """
        self._depot, self._tiles = depot, frozenset(tiles)
        self.begun: set[str] = set()
        """Tiles of which there is anything."""
        self.made: set[str] = set()
        """Tiles that were made."""
        self.aside: set[str] = set()
        """Tiles that were set aside."""
        self._known: dict[str, int | None] = {}

    @property
    def count(self) -> int:
        """How many tiles the run has."""
        return len(self._tiles)

    def is_over(self, tile: str) -> bool:
        """Tell whether a tile was made or set aside."""
        return tile in self.made or tile in self.aside

    def look(self) -> None:
        """Take up what has changed.

        Raises:
            OutputFailed: the depot does not tell.
        """
        there = {
            name: changed for name, changed in self._depot.folders(FOLDER) if name in self._tiles
        }
        for gone in self.begun - there.keys():
            self._forget(gone)
        self.begun = set(there)
        fresh = [
            name
            for name, changed in there.items()
            if name not in self._known or self._known[name] != changed
        ]
        listed_ns = time.time_ns()
        for name, names in self._listed(fresh).items():
            self._forget(name)
            if DESCRIBED in names:
                self.made.add(name)
            elif ASIDE in names:
                self.aside.add(name)
            changed = there[name]
            if name in self.made if changed is None else listed_ns - changed > SETTLED_NS:
                self._known[name] = changed

    def _forget(self, tile: str) -> None:
        self.made.discard(tile)
        self.aside.discard(tile)
        self._known.pop(tile, None)

    def _listed(self, fresh: Collection[str]) -> Mapping[str, set[str]]:
        """Return the names of what there is of some tiles; a folder in it counts as one name."""
        found: dict[str, set[str]] = {name: set() for name in fresh}
        if len(fresh) * _MANY > len(self.begun):
            for path in self._depot.names(FOLDER):
                tile, _, rest = path.partition("/")
                if tile in found:
                    found[tile].add(rest.partition("/")[0])
            return found
        for name in fresh:
            paths = self._depot.names(f"{FOLDER}/{name}")
            found[name].update(path.partition("/")[0] for path in paths)
        return found
