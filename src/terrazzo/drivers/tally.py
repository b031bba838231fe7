"""A tally: which blocks of a run are there, asked again and again at little cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.drivers.block_names import BLOCKS, GROUP, aside_of, kept_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.drivers.depot import Depot

RESULTS: Final = "results.json"
"""File of a run that is there when it is finished, and its blocks are not needed any more."""
SETTLED_NS: Final = 2_000_000_000
"""A folder that changed less than this before it was listed may change at the same time again."""


class Tally:
    """Which blocks of a run were made or set aside, as of the last look.

    A group of blocks whose folder has not changed is not listed again, nor is one that is complete
    where nobody tells of changes. So a look at a run of ten million blocks lists the few thousand
    that are in work.
    """

    def __init__(self, depot: Depot, count: int) -> None:
        """Begin to watch; nothing is known before the first look.

        Args:
            depot: of the run.
            count: its blocks.
        """
        self._depot, self.count = depot, count
        self.kept: NDArray[np.bool_] = np.zeros(count, np.bool_)
        """Blocks that were made."""
        self.aside: NDArray[np.bool_] = np.zeros(count, np.bool_)
        """Blocks that were set aside."""
        self._listed: set[int] = set()
        self._complete: dict[int, int | None] = {}
        self._changed: dict[int, int] = {}

    @property
    def done(self) -> int:
        """How many blocks were made."""
        return int(np.count_nonzero(self.kept))

    def look(self) -> None:
        """Take up what has changed.

        Raises:
            OutputFailed: the depot does not tell.
        """
        if self._depot.has(RESULTS):
            self._all()
            return
        there = {
            int(name): changed
            for name, changed in self._depot.folders(BLOCKS)
            if name.isdecimal() and int(name) * GROUP < self.count
        }
        gone = self._listed - there.keys()
        if gone and self._depot.has(RESULTS):
            self._all()  # it was finished, and tidied, between the two questions
            return
        for group in gone:
            self._forget(group)
        for group, changed in there.items():
            known = changed is not None and self._changed.get(group) == changed
            if known or (group in self._complete and self._complete[group] == changed):
                continue
            listed = time.time_ns()
            self._list(group, changed)
            if changed is not None and listed - changed > SETTLED_NS:
                self._changed[group] = changed

    def _all(self) -> None:
        """Take every block for made; should the results go, nothing is known of any."""
        self.kept[:], self.aside[:] = True, False
        self._listed = set(range(-(-self.count // GROUP)))
        self._complete.clear()
        self._changed.clear()

    def _forget(self, group: int) -> None:
        """Take blocks for missing whose folder has gone: the run was cut anew."""
        part = slice(group * GROUP, (group + 1) * GROUP)
        self.kept[part] = self.aside[part] = False
        self._listed.discard(group)
        self._complete.pop(group, None)
        self._changed.pop(group, None)

    def _list(self, group: int, changed: int | None) -> None:
        first = group * GROUP
        part = slice(first, min(first + GROUP, self.count))
        kept, aside = np.zeros((2, part.stop - first), np.bool_)
        for name in self._depot.names(f"{BLOCKS}/{group}"):
            made, number = kept_of(name), aside_of(name)
            if made is not None and first <= made[0] < part.stop:
                kept[made[0] - first] = True
            elif number is not None and first <= number < part.stop:
                aside[number - first] = True
        self.kept[part], self.aside[part] = kept, aside
        self._listed.add(group)
        self._complete.pop(group, None)
        if kept.all():
            self._complete[group] = changed
