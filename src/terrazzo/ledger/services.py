"""Secondary web services: graphs that are shown on demand, whose they are and who may look."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, or_, select, true, update

from terrazzo.errors import TerrazzoError
from terrazzo.ledger import entries
from terrazzo.ledger.access import Visibility, owned, visible
from terrazzo.ledger.schema import service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Row

    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database

ID_BYTES = 8
_DOCUMENTS = ("process", "processes", "configuration", "options")


class ServiceNotFound(TerrazzoError):
    """There is no such service, or none that whoever asks may see."""

    code, status = "ServiceNotFound", 404

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Service {name[:80]!r} does not exist, or is not for you. GET /services lists yours; "
            "POST /services makes one."
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A graph as a web service."""

    id: str
    """Its name in addresses; random, so that it cannot be guessed."""
    owner: str
    """Account whose it is, and with whose rights its data are read."""
    type: str
    """`XYZ` or `WMTS`."""
    process: Mapping[str, Any] = field(repr=False)
    """The process that was given; JSON values."""
    processes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The owner's processes that it calls, as they were when it was given."""
    visibility: str = Visibility.PRIVATE
    """Who may look besides the owner."""
    audience: str = ""
    """The group or licence that `visibility` means."""
    title: str | None = None
    """What people call it."""
    description: str | None = None
    """CommonMark."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """How it is shown, as it was given; JSON values."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the server keeps beside it; JSON values."""
    enabled: bool = True
    """Whether it answers."""
    created: str = ""
    """When it was made."""
    updated: str = ""
    """When it was changed last; another one after every change."""


def new_id() -> str:
    """Return an id for a service."""
    return secrets.token_hex(ID_BYTES)


def add_service(database: Database, made: Service) -> None:
    """Keep a new service."""
    with database.writing() as connection:
        connection.execute(insert(service).values(**_columns(made)))


def services_of(
    database: Database,
    principal: Principal,
    *,
    limit: int | None = None,
    after: tuple[str, ...] | None = None,
) -> list[Service]:
    """Return the services that somebody owns, the newest first.

    Args:
        database: the ledger.
        principal: whose.
        limit: how many at most.
        after: (created, id) of the last one of the page before.
    """
    return _listed(database, owned(principal, service), limit, after)


def services_for(
    database: Database,
    principal: Principal,
    *,
    limit: int | None = None,
    after: tuple[str, ...] | None = None,
) -> list[Service]:
    """Return the enabled services that somebody may look at; arguments as for `services_of`."""
    seen = and_(visible(principal, service), service.c.enabled)
    return _listed(database, seen, limit, after)


def service_of(database: Database, principal: Principal, name: str) -> Service:
    """Return a service.

    Raises:
        ServiceNotFound: there is none that they may see.
    """
    return _found(database, name, visible(principal, service))


def own_service(database: Database, principal: Principal, name: str) -> Service:
    """Return a service of somebody.

    Raises:
        ServiceNotFound: they have none of that name.
    """
    return _found(database, name, owned(principal, service))


def any_service(database: Database, name: str) -> Service:
    """Return a service for somebody who has proved otherwise that they may look.

    Raises:
        ServiceNotFound: there is none.
    """
    return _found(database, name, true())


def replace_service(
    database: Database, principal: Principal, before: Service, after: Service
) -> bool:
    """Keep a changed service in place of what it was before.

    Returns:
        False, and nothing is done, if it is not theirs, or was changed or deleted meanwhile.
    """
    unchanged = and_(service.c.id == before.id, service.c.updated == before.updated)
    columns = _columns(after)
    del columns["id"], columns["owner"], columns["created"]
    with database.writing() as connection:
        done = connection.execute(
            update(service).where(unchanged, owned(principal, service)).values(**columns)
        )
    return done.rowcount > 0


def delete_service(database: Database, principal: Principal, name: str) -> None:
    """Delete a service and its log.

    Raises:
        ServiceNotFound: they have none of that name.
    """
    condition = and_(service.c.id == name, owned(principal, service))
    with database.writing() as connection:
        if not _nameable(name) or not connection.execute(delete(service).where(condition)).rowcount:
            raise ServiceNotFound(name)
        entries.clear(connection, "service", name)


def _listed(
    database: Database,
    condition: ColumnElement[bool],
    limit: int | None,
    after: tuple[str, ...] | None,
) -> list[Service]:
    wanted = select(service).where(condition)
    if after is not None:
        created, name = after
        older = service.c.created < created
        wanted = wanted.where(or_(older, and_(service.c.created == created, service.c.id > name)))
    wanted = wanted.order_by(service.c.created.desc(), service.c.id).limit(limit)
    with database.reading() as connection:
        return [_service(row) for row in connection.execute(wanted)]


def _found(database: Database, name: str, condition: ColumnElement[bool]) -> Service:
    if not _nameable(name):
        raise ServiceNotFound(name)
    with database.reading() as connection:
        row = connection.execute(
            select(service).where(service.c.id == name, condition)
        ).one_or_none()
    if row is None:
        raise ServiceNotFound(name)
    return _service(row)


def _nameable(name: str) -> bool:
    """Tell whether a text can be an id at all; databases refuse some texts."""
    return name.isascii() and name.isalnum()


def _service(row: Row[Any]) -> Service:
    columns = dict(row._mapping)  # noqa: SLF001 - how SQLAlchemy names it
    return Service(**columns | {name: json.loads(columns[name]) for name in _DOCUMENTS})


def _columns(kept: Service) -> dict[str, Any]:
    columns = {one.name: getattr(kept, one.name) for one in fields(kept)}
    return columns | {name: json.dumps(columns[name]) for name in _DOCUMENTS}
