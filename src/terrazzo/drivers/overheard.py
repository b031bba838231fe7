"""What blocks log that others make: told as soon as they are kept, and not only at the end."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.drivers.block_names import BLOCKS, GROUP, kept_name, kept_of
from terrazzo.errors import OutputFailed
from terrazzo.graph import Callback, leaves
from terrazzo.processes import PROCESSES

if TYPE_CHECKING:
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.record import RunRecord
    from terrazzo.drivers.tally import Tally
    from terrazzo.graph import Graph
    from terrazzo.progress import Progress

LONGEST_S: Final = 2.0
"""For so long blocks are read at a time; then it is looked at other things first."""


def speaks(graph: Graph) -> bool:
    """Tell whether blocks of a graph may log anything but summaries, which are told when whole."""
    waiting = [(graph, False)]
    while waiting:
        here, called = waiting.pop()
        for node in here:
            if PROCESSES[node.process_id].sandbox or (called and node.process_id == "inspect"):
                return True
            inner = (leaf for leaf in leaves(node.arguments) if isinstance(leaf, Callback))
            waiting += ((leaf.graph, True) for leaf in inner)
    return False


def name_of(depot: Depot, number: int, version: int) -> str:
    """Return what tells a finished block from all others, of whatever run."""
    return f"{depot}/{kept_name(number, version)}"


class Overheard:
    """What the blocks of a raster log, read out of what is kept of them; of each once."""

    def __init__(self, record: RunRecord, tally: Tally) -> None:
        """Begin with nothing read.

        Args:
            record: of the raster.
            tally: tells which blocks are there, as of its last look.
        """
        self._record, self._tally = record, tally
        self._read = np.zeros(tally.count, np.bool_)

    def tell(self, progress: Progress) -> None:
        """Tell what blocks have logged that are new since the last time.

        Those that are gone again, or cannot be read now, are left to whoever puts results together.

        Args:
            progress: hears it; may raise `Cancelled` to stop.
        """
        fresh = np.flatnonzero(self._tally.kept & ~self._read)
        if not len(fresh):
            return
        until = time.monotonic() + LONGEST_S
        with suppress(OutputFailed):
            if self._record.is_closed:  # no block is there any more
                self._read[:] = True
                return
            for group in np.unique(fresh // GROUP).tolist():
                for name in self._record.depot.names(f"{BLOCKS}/{group}"):
                    found = kept_of(name)
                    if found is None or found[0] >= len(self._read) or self._read[found[0]]:
                        continue
                    progress.check()
                    self._read[found[0]] = True
                    told = self._record.told_of(*found)
                    if told is not None and told.log:
                        progress.hear(told.log, name_of(self._record.depot, *found))
                    if time.monotonic() > until:
                        return
