"""Services in the ledger: kept as they were given, listed in order, and hidden from others."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from terrazzo.ledger import ANONYMOUS, Principal, Visibility, entries
from terrazzo.ledger.clock import now
from terrazzo.ledger.services import (
    Service,
    ServiceNotFound,
    add_service,
    any_service,
    delete_service,
    new_id,
    own_service,
    replace_service,
    service_of,
    services_for,
    services_of,
)
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.ledger import Database

OWNER = Principal("owner")
PEOPLE = {
    "nobody": ANONYMOUS,
    "owner": OWNER,
    "other": Principal("other"),
    "member": Principal("member", groups=frozenset({"team", "more"})),
    "accepter": Principal("accepter", licences=frozenset({"team"})),
    "admin": Principal("admin", admin=True),
}
SEEN_BY = {
    Visibility.PRIVATE: {"owner", "admin"},
    Visibility.PUBLIC: set(PEOPLE),
    Visibility.USERS: set(PEOPLE) - {"nobody"},
    Visibility.GROUP: {"owner", "admin", "member"},
    Visibility.LICENCE: {"owner", "admin", "accepter"},
}
PROCESS = {"process_graph": {"é": {"process_id": "pi", "arguments": {}, "result": True}}}


def made(**given: object) -> Service:
    moment = now()
    fields = {"owner": OWNER.id, "type": "XYZ", "process": PROCESS, "created": moment}
    return Service(id=new_id(), updated=moment, **{**fields, **given})  # type: ignore[arg-type]


def test_a_service_comes_back_as_it_was_given(database: Database) -> None:
    service = made(
        title="\N{SNOWMAN}",
        processes={"mine": PROCESS},
        configuration={"bands": ["a"], "min": 0.1},
        options={"log_level": "debug"},
        enabled=False,
    )

    add_service(database, service)

    assert own_service(database, OWNER, service.id) == service
    assert any_service(database, service.id) == service


@pytest.mark.parametrize(("visibility", "who"), list(product(SEEN_BY, PEOPLE)))
def test_a_service_is_there_for_those_who_may_see_it(
    database: Database, visibility: Visibility, who: str
) -> None:
    service = made(visibility=visibility.value, audience="team")
    add_service(database, service)
    may = who in SEEN_BY[visibility]

    shown = services_for(database, PEOPLE[who])

    assert shown == ([service] if may else [])
    if may:
        assert service_of(database, PEOPLE[who], service.id) == service
    else:
        with pytest.raises(ServiceNotFound):
            service_of(database, PEOPLE[who], service.id)


@pytest.mark.parametrize("who", sorted(set(PEOPLE) - {"owner"}))
def test_only_its_owner_has_changes_and_deletes_a_service(database: Database, who: str) -> None:
    service = made(visibility=Visibility.PUBLIC.value)
    add_service(database, service)
    stranger = PEOPLE[who]

    with pytest.raises(ServiceNotFound):
        own_service(database, stranger, service.id)
    assert not replace_service(database, stranger, service, replace(service, title="mine"))
    with pytest.raises(ServiceNotFound):
        delete_service(database, stranger, service.id)

    assert services_of(database, stranger) == []
    assert any_service(database, service.id) == service


def test_changes_are_kept_but_neither_owner_nor_birth(database: Database) -> None:
    service = made()
    add_service(database, service)
    changed = replace(service, title="New", configuration={"max": 1}, updated=now())

    kept = replace_service(database, OWNER, service, replace(changed, created="never"))

    assert kept
    assert own_service(database, OWNER, service.id) == changed


def test_of_two_changes_at_once_the_later_one_is_told(database: Database) -> None:
    service = made()
    add_service(database, service)
    first, second = (replace(service, title=title, updated=now()) for title in ("a", "b"))

    done = [replace_service(database, OWNER, service, one) for one in (first, second)]

    assert done == [True, False]
    assert own_service(database, OWNER, service.id) == first


def test_a_deleted_service_takes_its_log_along(database: Database) -> None:
    kept, deleted = made(), made()
    for service in (kept, deleted):
        add_service(database, service)
        with database.writing() as connection:
            entries.add(connection, "service", service.id, [Entry(Level.ERROR, "x")])

    delete_service(database, OWNER, deleted.id)

    assert services_of(database, OWNER) == [kept]
    assert entries.listed(database, "service", deleted.id) == []
    assert len(entries.listed(database, "service", kept.id)) == 1
    with pytest.raises(ServiceNotFound):
        delete_service(database, OWNER, deleted.id)


def pages(database: Database, size: int) -> Iterator[Service]:
    after = None
    while page := services_of(database, OWNER, limit=size, after=after):
        yield from page
        after = (page[-1].created, page[-1].id)


def test_pages_together_are_the_list_the_newest_first(database: Database) -> None:
    moments = [now() for _ in range(4)]
    services = [made(created=moment) for moment in (*moments, moments[0], moments[0])]
    for service in services:
        add_service(database, service)

    listed = services_of(database, OWNER)

    assert {one.id for one in listed} == {one.id for one in services}
    assert [one.created for one in listed] == sorted(
        (one.created for one in services), reverse=True
    )
    for size in (1, 2, 3, 10):
        assert list(pages(database, size)) == listed


@pytest.mark.parametrize("name", ["", "\0", "é" * 10, "../x", "a" * 10_000, "%", "' or 1=1"])
def test_names_that_are_none_are_not_found(database: Database, name: str) -> None:
    with pytest.raises(ServiceNotFound):
        any_service(database, name)
