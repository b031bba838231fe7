"""User-defined processes: graphs that their owner calls by a name of their own.

They belong to their owner alone: another user's name means another process. Who stores a graph
that calls some keeps them with it as they were then (`processes_of`), so that changing or
deleting a process changes nothing that was made before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from terrazzo.errors import GraphInvalid, TerrazzoError
from terrazzo.graph import parse
from terrazzo.ledger.access import owned
from terrazzo.ledger.clock import now
from terrazzo.ledger.schema import process
from terrazzo.processes import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database

MOST = 1000
"""Processes that one user may have."""
LARGEST = 1_000_000
"""Bytes of one process as it is kept: lists read all of them."""
LARGEST_TOGETHER = 20_000_000
"""Bytes of the processes that one graph calls, which are kept with each job and service."""
LONGEST_ID = 200
_ID = re.compile(r"[\w-]+")
_TEXTS = ("summary", "description")
_LISTS = ("parameters", "categories", "examples", "links")
_OBJECTS = ("returns", "exceptions")
_FLAGS = ("deprecated", "experimental")
_LISTED = ("summary", "description", "parameters", "returns", "categories", *_FLAGS)
"""What a list of processes says of each, besides its id."""
_STRUCTURE = frozenset(
    {"ProcessGraphInvalid", "ProcessGraphMissing", "ProcessGraphComplexity", "ProcessInvalid"}
)
"""What is wrong with a graph whatever processes there will be when it is called."""
_MOST_AT_ONCE = 500
_ATTEMPTS = 5
_DEEPEST = 100


class ProcessNotFound(TerrazzoError):
    """Somebody has no user-defined process of that name."""

    code, status = "ProcessGraphNotFound", 404


class ProcessIdInvalid(TerrazzoError):
    """A user-defined process cannot have that name."""

    code, status = "ProcessGraphIdDoesntMatch", 400


class PredefinedProcessExists(TerrazzoError):
    """A user-defined process would have the name of a predefined one."""

    code, status = "PredefinedProcessExists", 400


class ProcessInvalid(TerrazzoError):
    """What is said of a user-defined process is not what openEO has."""

    code, status = "ProcessInvalid", 400


class TooManyProcesses(TerrazzoError):
    """Somebody has as many user-defined processes as one may."""

    code, status = "TooManyProcesses", 400


class ProcessesTooLarge(TerrazzoError):
    """User-defined processes have more bytes than are kept."""

    code, status = "ProcessGraphComplexity", 400


@dataclass(frozen=True, slots=True)
class UserProcesses:
    """The user-defined processes of everybody, kept in the ledger."""

    database: Database
    """Where they are kept."""

    def listed(
        self, principal: Principal, after: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return what is said of somebody's processes, without their graphs, by id.

        Args:
            principal: whose.
            after: only those behind this id.
            limit: how many at most.
        """
        query = select(process.c.document).where(owned(principal, process)).order_by(process.c.id)
        if after is not None:
            query = query.where(process.c.id > after)
        with self.database.reading() as connection:
            documents = connection.execute(query.limit(limit)).scalars().all()
        told = map(json.loads, documents)
        return [{k: v for k, v in one.items() if k == "id" or k in _LISTED} for one in told]

    def get(self, principal: Principal, name: str) -> dict[str, Any]:
        """Return all that somebody has stored of a process.

        Raises:
            ProcessNotFound: they have none of that name.
        """
        found = _documents(self.database, principal, [name])
        if name not in found:
            raise _missing(name)
        told: dict[str, Any] = json.loads(found[name])
        return told

    def put(self, principal: Principal, name: str, document: Mapping[str, Any]) -> None:
        """Store a process, in place of the one that had the name.

        Its graph need not be valid yet: it may call processes that are stored later.

        Raises:
            ProcessIdInvalid, PredefinedProcessExists: it cannot have that name.
            ProcessInvalid: what is said of it is not what openEO has.
            GraphInvalid: there is no graph, or no graph could be like that.
            ProcessesTooLarge: it has too many bytes.
            TooManyProcesses: as many as somebody may have are there.
        """
        text = json.dumps(checked(name, document))
        if len(text) > LARGEST:
            raise ProcessesTooLarge(
                f"The process has {len(text):,} bytes and may have {LARGEST:,}. Keep large "
                "geometries in a file or collection, or give them as parameters."
            )
        for _ in range(_ATTEMPTS):
            try:
                return self._put(principal, name, text)
            except IntegrityError:
                continue  # somebody has stored it under this name at the same moment
        raise ProcessInvalid(f"{name!r} is being stored by somebody else. Try again.")

    def _put(self, principal: Principal, name: str, text: str) -> None:
        mine = owned(principal, process)
        with self.database.writing() as connection:
            changed = connection.execute(
                update(process)
                .where(mine, process.c.id == name)
                .values(document=text, updated=now())
            )
            if changed.rowcount:
                return
            count = connection.execute(select(func.count()).select_from(process).where(mine))
            if count.scalar_one() >= MOST:
                raise TooManyProcesses(
                    f"You have {MOST:,} user-defined processes, as many as one may. Delete one "
                    "that is not used any more."
                )
            connection.execute(
                insert(process).values(owner=principal.id, id=name, document=text, updated=now())
            )

    def delete(self, principal: Principal, name: str) -> None:
        """Delete a process; what was made with it stays as it is.

        Raises:
            ProcessNotFound: they have none of that name.
        """
        if _ID.fullmatch(name) is None:  # NUL, which not every database takes
            raise _missing(name)
        with self.database.writing() as connection:
            gone = connection.execute(
                delete(process).where(owned(principal, process), process.c.id == name)
            )
        if gone.rowcount == 0:
            raise _missing(name)


def processes_of(
    database: Database, principal: Principal, document: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the user-defined processes that a graph calls, and those that they call, by id.

    Args:
        database: where they are kept; not asked where a graph calls predefined ones only.
        principal: whose they are.
        document: a process graph, or what holds one, as `graph.parse` takes it.

    Raises:
        ProcessesTooLarge: together they have too many bytes.
    """
    found: dict[str, dict[str, Any]] = {}
    missing, size = _called(document), 0
    while missing:
        texts = _documents(database, principal, sorted(missing))
        size += sum(map(len, texts.values()))
        if size > LARGEST_TOGETHER:
            raise ProcessesTooLarge(
                f"The user-defined processes that the graph calls have more than "
                f"{LARGEST_TOGETHER:,} bytes together. Call fewer of them, or smaller ones."
            )
        fresh = {name: json.loads(text) for name, text in texts.items()}
        found |= fresh
        missing = {name for one in fresh.values() for name in _called(one)} - found.keys()
    return found


def checked(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a process that somebody wants to store, once it is known to be one.

    Raises:
        ProcessIdInvalid, PredefinedProcessExists, ProcessInvalid, GraphInvalid: it is none.
    """
    if len(name) > LONGEST_ID or _ID.fullmatch(name) is None:
        raise ProcessIdInvalid(
            f"{name[:80]!r} cannot be the id of a process. Use letters, digits and underscores, at "
            f"most {LONGEST_ID} of them."
        )
    if name in SPECS:
        raise PredefinedProcessExists(
            f"There is a predefined process {name!r}. Store yours under another id."
        )
    kinds: dict[str, type] = {
        **dict.fromkeys(_TEXTS, str),
        **dict.fromkeys(_LISTS, list),
        **dict.fromkeys(_OBJECTS, dict),
        **dict.fromkeys(_FLAGS, bool),
    }
    for member, kind in kinds.items():
        if document.get(member) is not None and not isinstance(document[member], kind):
            raise ProcessInvalid(f"`{member}` of a process is {_WORDS[kind]}, or left out.")
    _check_entries(document)
    try:
        parse(
            {key: document.get(key) for key in ("process_graph", "parameters")},
            specs=SPECS,
            allow_free_parameters=True,
        )
    except GraphInvalid as error:
        wrong = [problem for problem in error.problems if problem.code in _STRUCTURE]
        if wrong:
            raise GraphInvalid(wrong) from None
    kept = {
        "id": name,
        **{key: document[key] for key in (*kinds,) if document.get(key) is not None},
    }
    return kept | {"process_graph": document["process_graph"]}


_WORDS: Mapping[type, str] = {
    str: "a text",
    list: "an array",
    dict: "an object",
    bool: "true or false",
}


def _check_entries(document: Mapping[str, Any]) -> None:
    """Refuse members of the description that openEO's clients would stumble over."""
    for number, parameter in enumerate(document.get("parameters") or ()):
        known = isinstance(parameter, Mapping) and isinstance(parameter.get("name"), str)
        if not known or not isinstance(parameter.get("schema", {}), dict | list):
            raise ProcessInvalid(
                f"Parameter {number + 1} is no object with a name, a description and a schema."
            )
    returns = document.get("returns")
    if returns is not None and not isinstance(returns.get("schema", {}), dict | list):
        raise ProcessInvalid("`returns.schema` is a JSON Schema, or an array of them.")
    if not all(isinstance(name, str) for name in document.get("categories") or ()):
        raise ProcessInvalid("`categories` is an array of texts.")
    for member in ("examples", "links"):
        if not all(isinstance(entry, Mapping) for entry in document.get(member) or ()):
            raise ProcessInvalid(f"`{member}` is an array of objects.")


def _documents(database: Database, principal: Principal, names: list[str]) -> dict[str, str]:
    """Return those of somebody's processes that have one of the names, as JSON texts."""
    found: dict[str, str] = {}
    names = [name for name in names if _ID.fullmatch(name)]  # what no database takes is none
    with database.reading() as connection:
        for first in range(0, len(names), _MOST_AT_ONCE):
            rows = connection.execute(
                select(process.c.id, process.c.document).where(
                    owned(principal, process),
                    process.c.id.in_(names[first : first + _MOST_AT_ONCE]),
                )
            )
            found |= {name: document for name, document in rows}  # noqa: C416 - rows are no pairs
    return found


def _called(document: Mapping[str, Any]) -> set[str]:
    """Return the processes that a document calls and that are not predefined."""
    return {name for name in _process_ids(document) if name not in SPECS}


def _process_ids(document: object) -> Iterator[str]:
    waiting: list[tuple[object, int]] = [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Mapping):
            name = value.get("process_id")
            if isinstance(name, str) and len(name) <= LONGEST_ID:
                yield name
            value = value.values()
        elif not isinstance(value, list | tuple):
            continue
        if depth < _DEEPEST:
            waiting.extend((entry, depth + 1) for entry in value)


def _missing(name: str) -> ProcessNotFound:
    return ProcessNotFound(
        f"You have no user-defined process {name[:80]!r}. GET /process_graphs lists yours."
    )
