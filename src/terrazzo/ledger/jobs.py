"""Batch jobs as their owners see them: made, changed, started, stopped, deleted.

    created --start--> queued --a worker takes it--> running --> finished or error
       ^                  |                             |
       +------stop--------+-------------stop------------+

Stopping never waits: the row says at once that the job is not running, and the worker that has it
looks at the row twice a second and kills what it has started. As results are shown of finished
jobs only, half of one is never seen; so openEO's status `canceled`, which promises results of a
part, does not occur.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, false, insert, literal, or_, select, update

from terrazzo.errors import TerrazzoError
from terrazzo.ledger import entries
from terrazzo.ledger.access import owned, visible
from terrazzo.ledger.clock import now
from terrazzo.ledger.processes import processes_of
from terrazzo.ledger.schema import job
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Connection, RowMapping, Select

    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database
    from terrazzo.ledger.folders import JobFolders

ID = re.compile(r"j-[0-9a-f]{32}")
"""What the id of a job looks like."""
KIND = "job"
"""What the log entries of jobs are of."""
_GRAPHS = ("process", "processes")


class JobNotFound(TerrazzoError):
    """There is no such job, or it is somebody else's."""

    code, status = "JobNotFound", 404


class JobLocked(TerrazzoError):
    """A job that waits or runs cannot be changed."""

    code, status = "JobLocked", 400


class JobNotFinished(TerrazzoError):
    """A job has no results yet."""

    code, status = "JobNotFinished", 400


class Status(StrEnum):
    """What becomes of a job, in openEO's words."""

    CREATED = "created"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    ERROR = "error"


BUSY = (Status.QUEUED, Status.RUNNING)
"""Of jobs that cannot be changed."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What somebody says of a job that is made or changed; members that are not given stay."""

    texts: Mapping[str, str | None] = field(default_factory=dict)
    """`title` and `description`."""
    process: Mapping[str, Any] | None = None
    """The process with its graph, which need not be valid before it is run."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """`log_level`, and `plan` and `budget`, which are kept and limit nothing."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it is now."""

    id: str
    """Random."""
    owner: str
    """Account that made it."""
    title: str | None
    """What people call it."""
    description: str | None
    """What it is for."""
    process: Mapping[str, Any]
    """As it was given."""
    processes: str
    """User-defined processes that it calls, JSON text."""
    options: Mapping[str, Any]
    """See `JobRequest.options`."""
    status: Status
    """What became of it."""
    progress: float
    """Percent of the work that is done."""
    created: str
    """RFC 3339."""
    updated: str
    """When its owner or its status last changed it, RFC 3339."""
    started: str | None
    """When this run began."""
    finished: str | None
    """When this run ended."""
    run: int
    """How often it was started."""
    usage: Mapping[str, Any]
    """What it took, as openEO says it."""

    @property
    def log_level(self) -> Level:
        """The least serious entries that are kept."""
        return Level(self.options.get("log_level", Level.INFO))


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of everybody."""

    database: Database
    """Where they are kept."""
    folders: JobFolders
    """Where their files are."""

    def create(self, principal: Principal, request: JobRequest) -> StoredJob:
        """Keep a new job; it is not run before it is started."""
        process = request.process or {}
        moment = now()
        values = {
            "id": f"j-{uuid.uuid4().hex}",
            "owner": principal.id,
            "process": json.dumps(process),
            "processes": json.dumps(processes_of(self.database, principal, process)),
            "options": json.dumps(dict(request.options)),
            "status": Status.CREATED.value,
            "created": moment,
            "updated": moment,
            **request.texts,
        }
        with self.database.writing() as connection:
            connection.execute(insert(job).values(values))
            return _stored(_row(connection, job.c.id == values["id"]))

    def listed(
        self,
        principal: Principal,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[StoredJob]:
        """Return somebody's jobs without their graphs, which may be large; the newest first.

        Args:
            principal: whose.
            after: `created` and `id` of a job; only those behind it in the list.
            limit: how many at most.
        """
        query = _without_graphs().where(owned(principal, job))
        if after is not None:
            created, name = after
            query = query.where(
                or_(job.c.created < created, and_(job.c.created == created, job.c.id < name))
            )
        return self._found(query, limit)

    def everybodys(self, limit: int, *statuses: Status) -> list[StoredJob]:
        """Return jobs of all users for whoever operates the server, likewise.

        Args:
            limit: how many at most.
            statuses: of which; any, if none is named.
        """
        query = _without_graphs()
        if statuses:
            query = query.where(job.c.status.in_(statuses))
        return self._found(query, limit)

    def _found(self, query: Select[Any], limit: int | None) -> list[StoredJob]:
        query = query.order_by(job.c.created.desc(), job.c.id.desc()).limit(limit)
        with self.database.reading() as connection:
            return [_stored(row) for row in connection.execute(query).mappings()]

    def get(self, principal: Principal, name: str) -> StoredJob:
        """Return a job.

        Raises:
            JobNotFound: there is none of that id that they may see.
        """
        with self.database.reading() as connection:
            return _stored(_row(connection, and_(_named(name), visible(principal, job))))

    def linked(self, name: str) -> StoredJob | None:
        """Return a job for somebody who has a signed link to its results; None where it is gone."""
        with self.database.reading() as connection:
            row = connection.execute(select(job).where(_named(name))).mappings().first()
        return None if row is None else _stored(row)

    def update(self, principal: Principal, name: str, request: JobRequest) -> None:
        """Change a job; its status and results stay.

        Raises:
            JobNotFound: there is none of that id that they may change.
            JobLocked: it waits or runs.
        """
        values: dict[str, Any] = dict(request.texts)
        if request.process is not None:
            values["process"] = json.dumps(request.process)
            values["processes"] = json.dumps(
                processes_of(self.database, principal, request.process)
            )
        with self.database.writing() as connection:
            known = _stored(_own(connection, principal, name))
            if known.status in BUSY:
                raise JobLocked(
                    f"Job {name!r} is {known.status} and cannot be changed meanwhile. Stop it "
                    "first, with DELETE /jobs/{job_id}/results."
                )
            if request.options:
                values["options"] = json.dumps({**known.options, **request.options})
            if values:
                connection.execute(
                    update(job).where(job.c.id == name).values(updated=now(), **values)
                )

    def delete(self, principal: Principal, name: str) -> None:
        """Delete a job with its log and files; if it runs, it is stopped.

        Raises:
            JobNotFound: there is none of that id that they may change.
        """
        with self.database.writing() as connection:
            _own(connection, principal, name)
            connection.execute(delete(job).where(job.c.id == name))
            entries.clear(connection, KIND, name)
        self.folders.discard(name)

    def start(self, principal: Principal, name: str) -> None:
        """Put a job into the queue, without what it made before; nothing if it is there or runs.

        Raises:
            JobNotFound: there is none of that id that they may change.
        """
        moment = now()
        with self.database.writing() as connection:
            known = _stored(_own(connection, principal, name))
            if known.status in BUSY:
                return
            connection.execute(
                update(job)
                .where(job.c.id == name)
                .values(
                    status=Status.QUEUED.value,
                    run=known.run + 1,
                    queued=moment,
                    updated=moment,
                    started=None,
                    finished=None,
                    worker=None,
                    progress=0.0,
                    lost=0,
                    usage="{}",
                )
            )
            entries.clear(connection, KIND, name)
            told = Entry(Level.INFO, "The job waits for a worker.", "JobQueued", time=moment)
            log(connection, known, told)
        self.folders.discard(name, but=known.run + 1)

    def stop(self, principal: Principal, name: str) -> None:
        """Take a job out of the queue, or stop it; nothing if it neither waits nor runs.

        Raises:
            JobNotFound: there is none of that id that they may change.
        """
        moment = now()
        with self.database.writing() as connection:
            known = _stored(_own(connection, principal, name))
            if known.status not in BUSY:
                return
            connection.execute(
                update(job)
                .where(job.c.id == name)
                .values(status=Status.CREATED.value, worker=None, progress=0.0, updated=moment)
            )
            told = Entry(Level.WARNING, "The job was stopped by its owner.", "JobStopped")
            log(connection, known, told)
        self.folders.discard(name, known.run)


def log(connection: Connection, known: StoredJob, *told: Entry, event: bool = True) -> None:
    """Write down what happens to a job, or what its graph told, as far as its owner wants it."""
    wanted = entries.levels_from(known.log_level)
    chosen = [one for one in told if one.level in wanted]
    entries.add(connection, KIND, known.id, chosen, event=event)


def stored(connection: Connection, name: str) -> StoredJob | None:
    """Return a job whoever it belongs to; None where it is gone."""
    row = connection.execute(select(job).where(job.c.id == name)).mappings().first()
    return None if row is None else _stored(row)


def _without_graphs() -> Select[Any]:
    return select(
        *(column for column in job.c if column.name not in _GRAPHS),
        *(literal("{}").label(name) for name in _GRAPHS),
    )


def _own(connection: Connection, principal: Principal, name: str) -> RowMapping:
    return _row(connection, and_(_named(name), owned(principal, job)), lock=True)


def _named(name: str) -> ColumnElement[bool]:
    """Return the condition on the id; what cannot be one is not shown to the database."""
    return job.c.id == name if ID.fullmatch(name) else false()


def _row(
    connection: Connection, condition: ColumnElement[bool], *, lock: bool = False
) -> RowMapping:
    """Return one row, locked where the database does not lock as a whole.

    Raises:
        JobNotFound: there is none.
    """
    query = select(job).where(condition)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise JobNotFound("You have no job of that id. GET /jobs lists yours.")
    return row


def _stored(row: RowMapping) -> StoredJob:
    return StoredJob(
        id=row["id"],
        owner=row["owner"],
        title=row["title"],
        description=row["description"],
        process=json.loads(row["process"]),
        processes=row["processes"],
        options=json.loads(row["options"]),
        status=Status(row["status"]),
        progress=row["progress"],
        created=row["created"],
        updated=row["updated"],
        started=row["started"],
        finished=row["finished"],
        run=row["run"],
        usage=json.loads(row["usage"]),
    )
