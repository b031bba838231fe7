"""The queue: which job is next, who has it, and what becomes of it.

All of it is rows of the ledger, so that workers on several machines share it. A job belongs to
the worker whose id is in its row; every step of a worker names it, so that one that was thought
dead, and is not, changes nothing any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, func, insert, select, update

from terrazzo.ledger import entries
from terrazzo.ledger.clock import now
from terrazzo.ledger.jobs import KIND, Status, StoredJob, log, stored
from terrazzo.ledger.schema import job, worker
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from terrazzo.ledger.database import Database

MOST_LOST = 5
"""How often the process of a job may die, without a block finished in between."""
WORKERS_LOST = 10
"""How many workers may die with a job for one death of its own process: most are not its fault."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker has."""

    job: StoredJob
    """As it was when the worker took it."""
    worker: str
    """Who has it."""

    @property
    def key(self) -> tuple[str, int]:
        """The job and its run."""
        return self.job.id, self.job.run


@dataclass(frozen=True, slots=True)
class KnownWorker:
    """A worker that has announced itself."""

    id: str
    """Random, new each time that a worker starts."""
    host: str
    """The machine, and since when it runs."""
    seen: str
    """When it last said that it lives."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of a ledger, as its workers use it."""

    database: Database
    """The ledger."""

    def announce(self, name: str, host: str, pid: int) -> None:
        """Say that a worker is there."""
        with self.database.writing() as connection:
            connection.execute(insert(worker).values(id=name, host=host, pid=pid, seen=now()))

    def renew(self, name: str) -> bool:
        """Say that a worker still lives; False if others have given it up."""
        with self.database.writing() as connection:
            changed = connection.execute(
                update(worker).where(worker.c.id == name).values(seen=now())
            )
        return changed.rowcount == 1

    def workers(self) -> list[KnownWorker]:
        """Return all workers that have announced themselves."""
        with self.database.reading() as connection:
            rows = connection.execute(select(worker.c.id, worker.c.host, worker.c.seen))
            return [KnownWorker(*row) for row in rows]

    def claim(self, name: str) -> Claim | None:
        """Take the job that is next; None if none waits.

        Users take turns: first comes who has the fewest jobs running, then whose last one began
        longest ago; of one user's jobs the one that waits longest.
        """
        while True:
            with self.database.writing() as connection:
                found = connection.execute(_next()).first()
                if found is None:
                    return None
                moment = now()
                changed = connection.execute(
                    update(job)
                    .where(job.c.id == found.id, job.c.run == found.run)
                    .where(job.c.status == Status.QUEUED)
                    .values(status=Status.RUNNING.value, worker=name, updated=moment)
                    .values(started=func.coalesce(job.c.started, moment))
                )
                taken = stored(connection, found.id) if changed.rowcount == 1 else None
                if taken is None:
                    continue  # another worker was faster
                if taken.started == moment:
                    log(connection, taken, Entry(Level.INFO, "The job has begun.", "JobStarted"))
                else:  # blocks that are kept tell again what they told
                    entries.clear(connection, KIND, taken.id, events=False)
                    told = "A worker goes on with the job."
                    log(connection, taken, Entry(Level.INFO, told, "JobResumed"))
                return Claim(taken, name)

    def held(self, name: str) -> set[tuple[str, int]]:
        """Return the jobs and runs that a worker has: what is not among them is not wanted."""
        with self.database.reading() as connection:
            rows = connection.execute(select(job.c.id, job.c.run).where(_held_by(name)))
            return {(row.id, row.run) for row in rows}

    def report(
        self,
        claim: Claim,
        progress: float,
        usage: Mapping[str, Any],
        told: Sequence[Entry] = (),
    ) -> bool:
        """Tell how far a job is and what it said; False if it is not the worker's any more."""
        with self.database.writing() as connection:
            changed = connection.execute(
                update(job)
                .where(_is(claim))
                .values(
                    progress=progress,
                    usage=json.dumps(dict(usage)),
                    lost=0 if progress > claim.job.progress else job.c.lost,
                )
            )
            if changed.rowcount:
                log(connection, claim.job, *told, event=False)
        return changed.rowcount == 1

    def close(
        self,
        claim: Claim,
        status: Status,
        usage: Mapping[str, Any],
        last: Entry,
        told: Sequence[Entry] = (),
    ) -> bool:
        """End a job, finished or with an error; False if it is not the worker's any more.

        With this, and not before, its results are there.

        Args:
            claim: the job.
            status: `finished` or `error`.
            usage: what it took.
            last: what is said of its end.
            told: what its graph told since the last report.
        """
        moment = now()
        values = {"progress": 100.0} if status is Status.FINISHED else {}
        with self.database.writing() as connection:
            changed = connection.execute(
                update(job)
                .where(_is(claim))
                .values(
                    status=status.value,
                    finished=moment,
                    updated=moment,
                    worker=None,
                    usage=json.dumps(dict(usage)),
                    **values,
                )
            )
            if changed.rowcount:
                log(connection, claim.job, *told, event=False)
                log(connection, claim.job, last)
        return changed.rowcount == 1

    def give_back(self, claim: Claim) -> None:
        """Let another worker go on with a job, as this one ends."""
        with self.database.writing() as connection:
            connection.execute(
                update(job)
                .where(_is(claim))
                .values(status=Status.QUEUED.value, worker=None, updated=now())
            )

    def lose(self, name: str, key: tuple[str, int]) -> Status | None:
        """Say that the process of a worker's job died; return what becomes of it, None if not its.

        Args:
            name: the worker.
            key: the job and its run.
        """
        condition = and_(job.c.id == key[0], job.c.run == key[1], _held_by(name))
        with self.database.writing() as connection:
            return _lost(connection, key[0], condition, "its process died", WORKERS_LOST)

    def give_up(self, names: Collection[str]) -> list[tuple[str, int]]:
        """Forget workers that are dead, and let others go on with what they had.

        Returns:
            The jobs (and runs) that end with an error, as too many workers died of them.
        """
        ended = []
        with self.database.writing() as connection:
            connection.execute(delete(worker).where(worker.c.id.in_(sorted(names))))
            orphans = connection.execute(
                select(job.c.id, job.c.run)
                .where(job.c.status == Status.RUNNING)
                .where(job.c.worker.not_in(select(worker.c.id)))
                .with_for_update()
            ).all()
            for row in orphans:
                condition = and_(
                    job.c.id == row.id, job.c.run == row.run, job.c.status == Status.RUNNING
                )
                if _lost(connection, row.id, condition, "its worker is gone", 1) is Status.ERROR:
                    ended.append((row.id, row.run))
        return ended

    def leave(self, name: str) -> None:
        """Say that a worker ends; it must have given its jobs back."""
        with self.database.writing() as connection:
            connection.execute(delete(worker).where(worker.c.id == name))

    def wanted(self, name: str | None = None) -> dict[str, tuple[int, Status]]:
        """Return run and status of every job (or one): files of others are not needed."""
        query = select(job.c.id, job.c.run, job.c.status)
        if name is not None:
            query = query.where(job.c.id == name)
        with self.database.reading() as connection:
            rows = connection.execute(query)
            return {row.id: (row.run, Status(row.status)) for row in rows}


def _next() -> Any:
    """Return the query of the job that is next."""
    others = (
        select(
            job.c.owner,
            func.sum(case((job.c.status == Status.RUNNING, 1), else_=0)).label("running"),
            func.max(job.c.started).label("began"),
        )
        .group_by(job.c.owner)
        .subquery()
    )
    return (
        select(job.c.id, job.c.run)
        .join(others, others.c.owner == job.c.owner)
        .where(job.c.status == Status.QUEUED)
        .order_by(others.c.running, func.coalesce(others.c.began, ""), job.c.queued, job.c.id)
        .limit(1)
    )


def _held_by(name: str) -> ColumnElement[bool]:
    return and_(job.c.worker == name, job.c.status == Status.RUNNING)


def _is(claim: Claim) -> ColumnElement[bool]:
    return and_(job.c.id == claim.job.id, job.c.run == claim.job.run, _held_by(claim.worker))


def _lost(
    connection: Connection, name: str, condition: ColumnElement[bool], reason: str, weight: int
) -> Status | None:
    known = stored(connection, name)
    moment = now()
    lost = connection.execute(select(job.c.lost).where(condition).with_for_update()).scalar()
    if known is None or lost is None:
        return None
    lost += weight
    status = Status.ERROR if lost >= MOST_LOST * WORKERS_LOST else Status.QUEUED
    values: dict[str, Any] = {"status": status.value, "worker": None, "lost": lost}
    if status is Status.ERROR:
        values["finished"] = moment
        told = Entry(
            Level.ERROR,
            f"The job was interrupted time and again without getting any further ({reason}) and is "
            "given up. Most likely it needs more memory than there is. Ask for fewer dates "
            "or bands, or a coarser resolution.",
            "JobInterrupted",
        )
    else:
        told = Entry(
            Level.WARNING,
            f"The job was interrupted ({reason}). It goes on where it was.",
            "JobInterrupted",
        )
    connection.execute(update(job).where(condition).values(updated=moment, **values))
    log(connection, replace(known, status=status), told)
    return status
