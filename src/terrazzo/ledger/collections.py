"""Which collections somebody may see.

The catalogue holds what a collection is, the ledger whose it is. A collection without a row here
is public: what an operator ingested is there for everybody, unless it is said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, not_, select

from terrazzo.ledger.access import ANONYMOUS, Visibility, visible
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.own import OwnResults
from terrazzo.ledger.own_uploads import OwnUploads
from terrazzo.ledger.schema import collection

if TYPE_CHECKING:
    from sqlalchemy import Select

    from terrazzo.drivers.job import Workspace
    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database
    from terrazzo.ledger.signing import Signer


@dataclass(frozen=True, slots=True)
class CollectionAccess:
    """Who may see a collection."""

    id: str
    """The collection."""
    visibility: Visibility
    """Who may see it besides its owner."""
    audience: str = ""
    """The group or licence, where the visibility is one."""
    owner: str = ""
    """Id of the account whose it is; empty for none."""


def set_access(database: Database, access: CollectionAccess) -> None:
    """Say who may see a collection, which may not be in the catalogue yet."""
    row = {
        "id": access.id,
        "owner": access.owner,
        "visibility": access.visibility,
        "audience": access.audience,
    }
    with database.writing() as connection:
        connection.execute(delete(collection).where(collection.c.id == access.id))
        if access.visibility is not Visibility.PUBLIC or access.owner:
            connection.execute(insert(collection).values(row))


def accesses(database: Database) -> list[CollectionAccess]:
    """Return what is said of collections, sorted by id; all others are public."""
    with database.reading() as connection:
        rows = connection.execute(select(collection).order_by(collection.c.id)).all()
    return [
        CollectionAccess(row.id, Visibility(row.visibility), row.audience, row.owner)
        for row in rows
    ]


def hidden_collections(database: Database, principal: Principal) -> frozenset[str]:
    """Return the collections that do not exist for a principal."""
    if principal.admin:
        return frozenset()
    with database.reading() as connection:
        return frozenset(connection.execute(_hidden(principal)).scalars())


@lru_cache(256)
def _hidden(principal: Principal) -> Select[str]:
    """Return what asks for the collections that somebody may not see.

    Every request asks; to write the question takes longer than to answer it.
    """
    return select(collection.c.id).where(not_(visible(principal, collection)))


def restricted_collections(database: Database) -> frozenset[str]:
    """Return the collections that not everybody may see."""
    return hidden_collections(database, ANONYMOUS)


def workspace_for(
    database: Database,
    workspace: Workspace,
    principal: Principal,
    signer: Signer | None = None,
    *,
    quota: int,
) -> Workspace:
    """Return a workspace as somebody uses it: without what they may not see, and their own code.

    Signed links to results of jobs mean the files themselves. What was ingested since the
    workspace was opened is in it, too.

    Args:
        database: the ledger.
        workspace: with everything.
        principal: who it is.
        signer: of the workspace, if it has been read already.
        quota: bytes that their files may have, unless their account says otherwise.
    """
    return replace(
        workspace.renewed(),
        hidden=hidden_collections(database, principal),
        owner=principal.id,
        own=OwnResults(JobFolders(workspace.home), principal.id, signer),
        uploads=OwnUploads(
            workspace.home,
            principal.id,
            quota if principal.quota is None else principal.quota,
            workspace.udf.mode,
        ),
    )
