"""Logs of jobs and services: openEO log entries in the order in which they were told."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, not_, select

from terrazzo.errors import TerrazzoError
from terrazzo.ledger.clock import now
from terrazzo.ledger.schema import entry
from terrazzo.logs import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from terrazzo.ledger.database import Database
    from terrazzo.logs import Entry

LEVELS = (Level.ERROR, Level.WARNING, Level.INFO, Level.DEBUG)
"""From the most to the least serious."""
LARGEST = 100_000
"""Bytes of what one entry may carry as data; larger ones say so instead."""
LONGEST = 10_000
"""Letters of a message."""
_LONGEST_ID = 18


class LogOffsetInvalid(TerrazzoError):
    """A log is asked for from an entry on that no log has."""

    code, status = "LogOffsetInvalid", 400


def levels_from(least: Level) -> tuple[Level, ...]:
    """Return the levels that are at least as serious as one."""
    return LEVELS[: LEVELS.index(least) + 1]


def add(
    connection: Connection, kind: str, name: str, entries: Sequence[Entry], *, event: bool = False
) -> None:
    """Write entries behind those that are there.

    Args:
        connection: in a transaction that writes.
        kind: `job` or `service`.
        name: its id.
        entries: what was told; those without a time are of this moment.
        event: whether they say what happened to the object, not what its graph has told.
    """
    if not entries:
        return
    moment = now()
    connection.execute(
        insert(entry),
        [
            {
                "kind": kind,
                "object": name,
                "level": one.level.value,
                "event": event,
                "body": _body(one, moment),
            }
            for one in entries
        ],
    )


def listed(
    database: Database,
    kind: str,
    name: str,
    *,
    after: str = "",
    level: Level = Level.DEBUG,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return entries as openEO has them, in their order.

    Args:
        database: the ledger.
        kind: `job` or `service`.
        name: its id.
        after: id of an entry; only those behind it.
        level: only those that are at least as serious.
        limit: how many at most.

    Raises:
        LogOffsetInvalid: `after` is no id of an entry.
    """
    query = (
        select(entry.c.number, entry.c.body)
        .where(entry.c.kind == kind, entry.c.object == name)
        .order_by(entry.c.number)
        .limit(limit)
    )
    if level is not Level.DEBUG:
        query = query.where(entry.c.level.in_(levels_from(level)))
    if after:
        if not after.isascii() or not after.isdecimal() or len(after) > _LONGEST_ID:
            raise LogOffsetInvalid(
                "`offset` is the id of the last log entry that was received, a whole number. Leave "
                "it out to begin with the first entry."
            )
        query = query.where(entry.c.number > int(after))
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return [{"id": str(number), **json.loads(body)} for number, body in rows]


def trim(connection: Connection, kind: str, name: str, keep: int) -> None:
    """Delete all entries but the newest ones."""
    oldest = connection.execute(
        select(entry.c.number)
        .where(entry.c.kind == kind, entry.c.object == name)
        .order_by(entry.c.number.desc())
        .offset(keep)
        .limit(1)
    ).scalar()
    if oldest is not None:
        connection.execute(
            delete(entry).where(
                entry.c.kind == kind, entry.c.object == name, entry.c.number <= oldest
            )
        )


def clear(connection: Connection, kind: str, name: str, *, events: bool = True) -> None:
    """Delete all entries; without `events` only what the graph has told."""
    query = delete(entry).where(entry.c.kind == kind, entry.c.object == name)
    connection.execute(query if events else query.where(not_(entry.c.event)))


def _body(one: Entry, moment: str) -> str:
    told = one.listed(0)
    del told["id"]
    told["time"] = one.time or moment
    for optional in ("code", "data", "path"):
        if told[optional] in ("", None, []):
            del told[optional]
    for member in ("message", "code"):
        if len(told.get(member, "")) > LONGEST:
            told[member] = f"{told[member][:LONGEST]}... ({len(told[member]):,} letters)"
    try:
        text = json.dumps(_plain(told))
        why = f"the entry would have {len(text):,} bytes" if len(text) > LARGEST else ""
    except RecursionError:
        text, why = "", "they are nested too deeply"
    if why and "data" in told:
        text = json.dumps(_plain(told | {"data": f"The data were left out: {why}."}))
    return text


def _plain(value: Any) -> Any:
    """Return JSON values without what no answer can hold, or no database: NUL, NaN, infinity."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
