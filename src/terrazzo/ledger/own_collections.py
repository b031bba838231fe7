"""Collections that people make themselves: whose they are, and what they may be called.

Somebody who is no admin makes collections only under ids that begin with their own name. So nobody
takes an id that others would look for, and nobody learns by trying whether an id is in use: what
is hidden from them begins with another name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from terrazzo.catalog.taken import CollectionExists
from terrazzo.errors import TerrazzoError
from terrazzo.ledger.access import Visibility, changeable
from terrazzo.ledger.schema import collection
from terrazzo.ledger.users import BASIC, find_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database

MARK = "~"
"""Between the name of somebody and the rest of an id; no log-in name has it."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class CollectionForeign(TerrazzoError):
    """Somebody may see a collection, but not change it, or may not use an id."""

    code, status = "PermissionsInsufficient", 403


class CollectionQuotaExceeded(TerrazzoError):
    """Somebody has as many collections, or items in one, as they may have."""

    code, status = "StorageQuotaExceeded", 400


def prefix_of(database: Database, who: Principal) -> str:
    """Return how the ids of somebody's own collections begin; empty for admins, who choose freely.

    It is the log-in name where ids may hold it, else the id of the account.
    """
    if who.admin:
        return ""
    found = find_user(database, who.id)
    plain = found.provider == BASIC and _NAME.fullmatch(found.subject)
    return (found.subject if plain else found.id) + MARK


def may_change(database: Database, who: Principal, name: str) -> bool:
    """Tell whether somebody may write a collection that they see."""
    if who.admin:
        return True
    mine = select(collection.c.id).where(collection.c.id == name, changeable(who, collection))
    with database.reading() as connection:
        return connection.execute(mine).first() is not None


def collections_of(database: Database, who: Principal) -> frozenset[str]:
    """Return the ids of the collections that are somebody's own."""
    mine = select(collection.c.id).where(collection.c.owner == who.id)
    with database.reading() as connection:
        return frozenset(connection.execute(mine).scalars())


def make_own(database: Database, owner: Principal, name: str, make: Callable[[], None]) -> None:
    """Make a collection that only its owner sees.

    It is private before it is there, so that nobody else sees it at any moment, whatever is
    killed. What a try that failed has left is taken up by the next one of the same owner.

    Args:
        database: the ledger.
        owner: whose it will be.
        name: its id.
        make: puts it into the catalogue.

    Raises:
        CollectionExists: the ledger knows it as somebody else's, or `make` finds it there.
    """
    row = {"id": name, "owner": owner.id, "visibility": Visibility.PRIVATE, "audience": ""}
    try:
        with database.writing() as connection:
            connection.execute(insert(collection).values(row))
        fresh = True
    except IntegrityError:
        fresh = False
    this = collection.c.id == name
    # Whoever forgets a deleted collection waits for this one, or has been before it.
    known = select(collection.c.owner).where(this).with_for_update()
    try:
        with database.writing() as connection:
            _check_owner(connection.execute(known).scalar(), owner, name)
            make()
    except CollectionExists:
        if fresh:
            with database.writing() as connection:
                connection.execute(delete(collection).where(this, collection.c.owner == owner.id))
        raise


def _check_owner(found: str | None, owner: Principal, name: str) -> None:
    if found != owner.id:
        raise CollectionExists(name)


def forget(database: Database, name: str, is_there: Callable[[], bool]) -> None:
    """Forget whose a deleted collection was; what an operator said of it without an owner stays.

    Args:
        database: the ledger.
        name: its id.
        is_there: whether somebody has made one of that id again meanwhile.
    """
    this = (collection.c.id == name) & (collection.c.owner != "")
    with database.writing() as connection:
        known = connection.execute(select(collection.c.id).where(this).with_for_update()).first()
        if known and not is_there():
            connection.execute(delete(collection).where(this))
