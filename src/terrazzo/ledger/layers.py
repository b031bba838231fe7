"""Graphs that screens show, by digest: kept so that tiles can be asked for by a short address.

They are no property: who has a digest may ask for the graph, and it is computed with the rights of
whoever asks. Each account keeps those that it opened last; who still shows an older one opens it
again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from terrazzo.errors import TerrazzoError
from terrazzo.ledger.clock import now
from terrazzo.ledger.schema import layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database

MOST: Final = 200
"""Layers that are kept of one account, and ten times as many of all who are not logged in."""
LARGEST: Final = 1_000_000
"""Bytes of one graph with the processes that it calls."""
LARGEST_ANONYMOUS: Final = 100_000
"""The same for those who are not logged in."""
_ID: Final = re.compile(r"[0-9a-f]{64}")


class LayerNotFound(TerrazzoError):
    """There is no such layer, or none that whoever asks may see."""

    code, status = "LayerNotFound", 404

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Layer {name[:80]!r} is not known here, or not any more, or is not for you. Open it "
            "with POST /layers and its process graph."
        )


class LayerTooLarge(TerrazzoError):
    """A graph has more bytes than are kept of a layer."""

    code, status = "LayerTooLarge", 400


@dataclass(frozen=True, slots=True)
class KeptLayer:
    """A graph that somebody opened as a layer."""

    id: str
    """Digest of the graph."""
    owner: str
    """Account that opened it; empty for somebody who was not logged in."""
    process: Mapping[str, Any] = field(repr=False)
    """The process that was given; JSON values."""
    processes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The user-defined processes that it calls, as they were then."""
    title: str = ""
    """What they call it."""


def check_size(principal: Principal, made: KeptLayer) -> None:
    """Refuse a layer that would not be kept.

    Raises:
        LayerTooLarge: its graph has too many bytes.
    """
    size = sum(len(json.dumps(one)) for one in (made.process, made.processes))
    most = LARGEST if principal.known else LARGEST_ANONYMOUS
    if size > most:
        raise LayerTooLarge(
            f"The graph has {size:,} bytes, and {most:,} are kept of a layer"
            f"{'' if principal.known else ' of those who are not logged in'}. Keep large "
            "geometries in a file or collection."
        )


def keep_layer(database: Database, principal: Principal, made: KeptLayer) -> None:
    """Keep a layer, and drop those that its owner opened longest ago.

    Raises:
        LayerTooLarge: its graph has too many bytes.
    """
    check_size(principal, made)
    columns = {
        "title": made.title,
        "process": json.dumps(made.process),
        "processes": json.dumps(made.processes),
        "opened": now(),
    }
    mine = (layer.c.owner == principal.id) & (layer.c.id == made.id)
    try:
        with database.writing() as connection:
            if connection.execute(update(layer).where(mine).values(columns)).rowcount:
                return
            row = columns | {"id": made.id, "owner": principal.id}
            connection.execute(insert(layer).values(row))
            _trim(connection, principal)
    except IntegrityError:
        return  # opened twice at the same moment


def _trim(connection: Connection, principal: Principal) -> None:
    most = MOST if principal.known else 10 * MOST
    mine = layer.c.owner == principal.id
    newest = select(layer.c.opened).where(mine).order_by(layer.c.opened.desc())
    last = connection.execute(newest.offset(most).limit(1)).scalar_one_or_none()
    if last is not None:
        connection.execute(delete(layer).where(mine, layer.c.opened <= last))


def kept_layer(database: Database, principal: Principal, name: str) -> KeptLayer:
    """Return a layer, that which whoever asks has opened or else anybody's of that digest.

    Raises:
        LayerNotFound: there is none.
    """
    if _ID.fullmatch(name) is None:
        raise LayerNotFound(name)
    mine_first = (layer.c.owner != principal.id, layer.c.opened.desc())
    query = select(layer).where(layer.c.id == name).order_by(*mine_first).limit(1)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise LayerNotFound(name)
    processes = json.loads(row.processes)
    return KeptLayer(row.id, row.owner, json.loads(row.process), processes, row.title)
