"""Which collections somebody may see.

The catalogue holds what a collection is, the ledger whose it is. A collection without a row here
is public: what an operator ingested is there for everybody, unless it is said otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import not_, select

from terrazzo.ledger.access import visible
from terrazzo.ledger.schema import collection

if TYPE_CHECKING:
    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database


def hidden_collections(database: Database, principal: Principal) -> frozenset[str]:
    """Return the collections that do not exist for a principal."""
    if principal.admin:
        return frozenset()
    with database.reading() as connection:
        rows = connection.execute(
            select(collection.c.id).where(not_(visible(principal, collection)))
        )
        return frozenset(rows.scalars())
