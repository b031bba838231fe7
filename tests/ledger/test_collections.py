"""Who may see a collection, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from terrazzo.ledger import ANONYMOUS, LOCAL, Principal, Visibility
from terrazzo.ledger.collections import (
    CollectionAccess,
    accesses,
    hidden_collections,
    restricted_collections,
    set_access,
)

if TYPE_CHECKING:
    from terrazzo.ledger import Database

OWNER = Principal("u1")
MEMBER = Principal("u2", groups=frozenset({"agri", "sea"}))
ACCEPTED = Principal("u3", licences=frozenset({"vhr"}))
OTHER = Principal("u4", groups=frozenset({"vhr"}), licences=frozenset({"agri"}))
ADMIN = Principal("u5", admin=True)
EVERYBODY = {
    "anonymous": ANONYMOUS, "owner": OWNER, "member": MEMBER, "accepted": ACCEPTED, "other": OTHER,
    "admin": ADMIN, "local": LOCAL,
}  # fmt: skip
ALWAYS = {"owner", "admin", "local"}
SEEN_BY = {
    CollectionAccess("c", Visibility.PUBLIC, "", "u1"): set(EVERYBODY),
    CollectionAccess("c", Visibility.USERS, "", "u1"): set(EVERYBODY) - {"anonymous"},
    CollectionAccess("c", Visibility.PRIVATE, "", "u1"): ALWAYS,
    CollectionAccess("c", Visibility.GROUP, "agri", "u1"): ALWAYS | {"member"},
    CollectionAccess("c", Visibility.LICENCE, "vhr", "u1"): ALWAYS | {"accepted"},
    CollectionAccess("c", Visibility.PRIVATE): {"admin", "local"},
}


@pytest.mark.parametrize("access", SEEN_BY)
def test_only_those_see_a_collection_who_may(database: Database, access: CollectionAccess):
    set_access(database, access)

    seeing = {name for name, one in EVERYBODY.items() if not hidden_collections(database, one)}

    assert seeing == SEEN_BY[access]
    assert accesses(database) == [access]
    assert restricted_collections(database) == ({"c"} if "anonymous" not in seeing else set())


def test_a_collection_of_which_nothing_is_said_is_public(database: Database):
    set_access(database, CollectionAccess("c", Visibility.PRIVATE))

    set_access(database, CollectionAccess("c", Visibility.PUBLIC))

    assert accesses(database) == []
    assert hidden_collections(database, ANONYMOUS) == set()


def test_what_was_said_last_counts(database: Database):
    set_access(database, CollectionAccess("c", Visibility.GROUP, "agri", "u1"))

    set_access(database, CollectionAccess("c", Visibility.LICENCE, "vhr"))

    assert hidden_collections(database, OWNER) == {"c"}
    assert hidden_collections(database, MEMBER) == {"c"}
    assert hidden_collections(database, ACCEPTED) == set()
