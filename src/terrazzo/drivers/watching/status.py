"""The status of a run, as a file in its folder: what it does, how far it is, and how it ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.watching.pulse import Beat, age_s
from terrazzo.drivers.watching.told import DAMAGED, checked

if TYPE_CHECKING:
    from terrazzo.drivers.depot import Depot

STATUS = "status.json"
MOST_WORKERS = 200
"""Workers whose last word is kept when a run has ended."""


class State(StrEnum):
    """What becomes of a run."""

    SUBMITTED = "submitted"
    """Handed to a cluster; nobody here watches it."""
    RUNNING = "running"
    FINISHED = "finished"
    INCOMPLETE = "incomplete"
    """Some blocks failed; the same command tries them again."""
    STOPPED = "stopped"
    """By whoever began it."""
    FAILED = "failed"
    SILENT = "silent"
    """Nothing is heard of it any more: most likely it was killed. The same command goes on."""


ENDED = frozenset({State.FINISHED, State.INCOMPLETE, State.STOPPED, State.FAILED})


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run was expected to take before it began."""

    blocks: int
    """Blocks of all its rasters."""
    read_bytes: int
    """Of the pixels that are read, once they are decoded."""
    result_bytes: int | None
    """Of the files at most, without compression; None where it is not known before."""
    memory_bytes: int
    """Of one block."""
    least_s: float | None = None
    """Seconds at least; None where no run says."""
    most_s: float | None = None
    """Seconds at most."""
    runs: int = 0
    """How many earlier runs say so."""
    alike: bool = False
    """Whether those were of the same processes."""


@dataclass(frozen=True, slots=True)
class Took:
    """What a run has taken, in all processes that were told to do it."""

    seconds: float
    """On the clock."""
    blocks: int
    """That were computed, and not kept from before."""
    decoded_bytes: int = 0
    """Pixels that workers unpacked."""
    fetched_bytes: int = 0
    """That came over the network."""
    written_bytes: int = 0
    """Of blocks and results."""
    peak_bytes: int = 0
    """Resident memory of the worker that had most."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a run is."""

    state: State
    """What becomes of it."""
    title: str = ""
    """What people call it."""
    executor: str = ""
    """Who computes."""
    workers: int = 0
    """How many were asked for."""
    host: str = ""
    """Machine of the process that sees to it."""
    pid: int = 0
    """That process."""
    begun: str = ""
    """When it was begun this time, RFC 3339."""
    seen: str = ""
    """When this was written, RFC 3339."""
    before_s: float = 0.0
    """Seconds that it took before, when it was stopped."""
    unit: str = "blocks"
    """What is counted."""
    done: int = 0
    """How many are done, with those of earlier runs."""
    total: int = 0
    """Of how many."""
    kept: int = 0
    """Of the done ones, how many were there before."""
    failed: int = 0
    """How many failed."""
    message: str = ""
    """Why it did not end well."""
    expected: Expected | None = None
    """What it was expected to take."""
    took: Took | None = None
    """What it has taken; None before it ends."""
    team: tuple[Beat, ...] = ()
    """The last word of its workers; empty before it ends."""

    def content(self) -> bytes:
        """Return the file."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def read(cls, depot: Depot) -> Status | None:
        """Return that of a run; None where it tells none, or one of another Terrazzo."""
        content = depot.read(STATUS)
        if content is None:
            return None
        try:
            told: dict[str, Any] = json.loads(content)
            known = {field.name for field in fields(cls)}
            plain = {name: value for name, value in told.items() if name in known}
            expected, took = plain.get("expected"), plain.get("took")
            team = (Beat.of(json.dumps(one).encode()) for one in plain.get("team", ()))
            status = checked(
                cls(
                    **{
                        **plain,
                        "state": State(plain["state"]),
                        "expected": checked(Expected(**expected)) if expected else None,
                        "took": checked(Took(**took)) if took else None,
                        "team": tuple(one for one in team if one is not None),
                    }
                )
            )
            _ = age_s(status.begun), age_s(status.seen)  # what is no moment is no status
        except DAMAGED:
            return None
        return status
