"""What the owner of a job is told of its blocks and workers: no machine, process or path."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.watching.pulse import age_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.drivers.watching.watch import BlockMap, Look, Worker

MOST_WORKERS = 200
"""Workers that are told of one job."""


def told_of(look: Look, maps: Sequence[BlockMap]) -> dict[str, Any]:
    """Return how a job is, as JSON values.

    A map has `cells`, a letter for each cell, row by row: `d` all its blocks are done, `f` some
    failed, `r` some are in work, `p` some are done, `m` none is.
    """
    status, left = look.status, look.left_s
    return {
        "state": status.state,
        "unit": status.unit,
        "done": status.done,
        "total": status.total,
        "failed": status.failed,
        "kept": status.kept,
        "begun": status.begun or None,
        "per_second": round(look.per_second, 4),
        "left_seconds": None if left is None else round(left, 1),
        "workers": [_worker(number, one) for number, one in enumerate(look.workers, 1)][
            :MOST_WORKERS
        ],
        "maps": [asdict(one) for one in maps],
    }


def _worker(number: int, worker: Worker) -> dict[str, Any]:
    beat = worker.beat
    return {
        "name": f"Worker {number}",
        "silent": worker.is_silent,
        "heard_seconds": round(age_s(beat.seen), 1),
        "made": beat.made,
        "failed": beat.failed,
        "at_hand": len(beat.running),
        "per_second": beat.per_second,
        "memory_bytes": beat.memory_bytes,
        "decoded_bytes": beat.decoded_bytes,
        "written_bytes": beat.written_bytes,
    }
