"""Who may write collections and items: owners and admins. Nobody learns what is hidden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient
from tests.server.stac_written import World, collection, features, item, names, world

from terrazzo.cli import main
from terrazzo.drivers.job import Workspace
from terrazzo.ledger import Principal, Visibility
from terrazzo.ledger.collections import CollectionAccess, accesses, hidden_collections, set_access
from terrazzo.ledger.own_collections import make_own
from terrazzo.ledger.users import find_user
from terrazzo.server.app import create_app
from terrazzo.server.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINE, OPEN, SECRET, MISSING = "anna~fields", "sentinel", "restricted-area", "not-there"
WRITES = (
    ("PUT", "", collection("NAME")),
    ("PATCH", "", {"title": "changed"}),
    ("DELETE", "", None),
    ("POST", "/items", item("new")),
    ("POST", "/items", features(item("new"))),
    ("PUT", "/items/old", item("old", properties={"datetime": "2020-01-01T00:00:00Z"})),
    ("PATCH", "/items/old", {"properties": {"gsd": 1}}),
    ("DELETE", "/items/old", None),
)
"""Every way to write a collection that has an item `old`."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A public collection of the operator, a hidden one, and a private one of anna's."""
    home = tmp_path_factory.mktemp("home")
    with world(home, limits=Limits(collections=2, collection_items=3)) as made:
        for name in (OPEN, SECRET):
            made.ask("admin", "POST", "/collections", collection(name))
            made.ask("admin", "POST", f"/collections/{name}/items", item("old"))
        set_access(made.database, CollectionAccess(SECRET, Visibility.PRIVATE))
        yield made


@pytest.fixture(autouse=True)
def mine(there: World) -> Iterator[None]:
    """Let anna have her collection, with an item, and no other one when the test is over."""
    assert there.ask("anna", "POST", "/collections", collection(MINE)).status_code == 201
    assert there.ask("anna", "POST", f"/collections/{MINE}/items", item("old")).status_code == 201
    yield
    with there.workspace.catalog() as catalog:
        left = [one["id"] for one in catalog.collections() if one["id"] not in {OPEN, SECRET}]
    for name in left:
        there.ask("admin", "DELETE", f"/collections/{name}")


def write(there: World, who: str, name: str, one: tuple[str, str, Any]) -> Any:
    method, tail, document = one
    body = json.loads(json.dumps(document).replace("NAME", name))
    return there.ask(who, method, f"/collections/{name}{tail}", body)


def state(there: World) -> dict[str, Any]:
    """Return all that is kept."""
    with there.workspace.catalog() as catalog:
        return {
            one["id"]: (one, catalog.version(one["id"]), list(catalog.search((one["id"],))))
            for one in catalog.collections()
        }


@pytest.mark.parametrize("one", WRITES, ids=lambda one: f"{one[0]} {one[1]}")
@pytest.mark.parametrize(
    ("who", "name", "status"),
    [
        ("anonymous", OPEN, 401), ("anonymous", SECRET, 401), ("anonymous", MISSING, 401),
        ("anna", OPEN, 403), ("anna", SECRET, 404), ("anna", MISSING, 404),
        ("bert", OPEN, 403), ("bert", MINE, 404),
    ],
)  # fmt: skip
def test_strangers_write_nothing(there: World, who: str, name: str, status: int, one: Any) -> None:
    before = state(there)

    answer = write(there, who, name, one)

    assert answer.status_code == status
    if status == 404:
        missing = write(there, who, MISSING, one).json()["message"]
        assert answer.json()["message"].replace(name, MISSING) == missing
    assert state(there) == before


@pytest.mark.parametrize("one", WRITES, ids=lambda one: f"{one[0]} {one[1]}")
@pytest.mark.parametrize(("who", "name"), [("anna", MINE), ("admin", MINE)])
def test_owners_and_admins_write(there: World, who: str, name: str, one: Any) -> None:
    answer = write(there, who, name, one)

    assert answer.status_code in {200, 201, 204}, answer.text


def test_a_stranger_is_refused_before_a_large_body_is_read(there: World) -> None:
    body = b'{"type": "FeatureCollection", "features": [' + b" " * 2_000_000

    answer = there.client.post(
        f"/collections/{OPEN}/items",
        content=body,
        headers={**there.headers["bert"], "Content-Type": "application/json"},
    )

    assert answer.json()["code"] == "PermissionsInsufficient"  # and not that it is no JSON


def test_only_the_owner_and_admins_see_a_new_collection(there: World) -> None:
    seen = {
        who: {one["id"] for one in there.ask(who, "GET", "/collections").json()["collections"]}
        for who in there.headers
    }
    found = {who: there.ask(who, "GET", f"/search?collections={MINE}").status_code for who in seen}

    assert {who for who, them in seen.items() if MINE in them} == {"anna", "admin"}
    assert found == {"anna": 200, "admin": 200, "bert": 404, "anonymous": 404}


def test_an_operator_shares_a_collection_and_it_stays_its_owners(there: World) -> None:
    home = str(there.workspace.home)

    shared = CliRunner().invoke(main, ["--home", home, "access", MINE, "--users"])

    assert shared.exit_code == 0, shared.output
    assert there.ask("bert", "GET", f"/collections/{MINE}").status_code == 200
    assert write(there, "bert", MINE, WRITES[1]).status_code == 403
    assert write(there, "anna", MINE, WRITES[1]).status_code == 200
    given_up = CliRunner().invoke(main, ["--home", home, "access", MINE, "--public", "--owner", ""])
    assert given_up.exit_code == 0, given_up.output
    assert write(there, "anna", MINE, WRITES[1]).status_code == 403


@pytest.mark.parametrize("name", [OPEN, SECRET, MISSING, "bert~x", "anna", "anna~", "Anna~x"])
def test_people_make_collections_under_their_own_name_only(there: World, name: str) -> None:
    """So whether an id is in use is told to nobody: the answer is the same for all of them."""
    answer = there.ask("anna", "POST", "/collections", collection(name))

    assert (answer.status_code, answer.json()["code"]) == (403, "PermissionsInsufficient")
    other = there.ask("anna", "POST", "/collections", collection(MISSING)).json()["message"]
    told = answer.json()["message"].replace(f"'anna~{name}'", "X")
    assert told == other.replace(f"'anna~{MISSING}'", "X")


def test_somebody_has_a_bounded_number_of_collections_and_items(there: World) -> None:
    second = there.ask("anna", "POST", "/collections", collection("anna~two"))
    third = there.ask("anna", "POST", "/collections", collection("anna~three"))
    there.ask("anna", "DELETE", "/collections/anna~two")
    again = there.ask("anna", "POST", "/collections", collection("anna~three"))
    full = there.ask("anna", "POST", f"/collections/{MINE}/items", features(*map(item, "abc")))
    fits = there.ask("anna", "POST", f"/collections/{MINE}/items", features(*map(item, "ab")))

    assert [one.status_code for one in (second, third, again)] == [201, 400, 201]
    assert third.json()["code"] == full.json()["code"] == "StorageQuotaExceeded"
    assert (full.status_code, fits.status_code) == (400, 201)
    assert names(there.ask("anna", "GET", f"/collections/{MINE}/items")) == {"a", "b", "old"}


def test_a_deleted_collection_is_nobodys_and_can_be_made_again(there: World) -> None:
    owned = [one.id for one in accesses(there.database) if one.owner]

    there.ask("anna", "DELETE", f"/collections/{MINE}")
    gone = [one.id for one in accesses(there.database) if one.owner]
    again = there.ask("anna", "POST", "/collections", collection(MINE))

    assert (owned, gone) == ([MINE], [])
    assert again.status_code == 201
    assert there.ask("bert", "GET", f"/collections/{MINE}").status_code == 404


def test_what_an_operator_said_of_a_collection_stays_when_it_is_made_anew(there: World) -> None:
    there.ask("admin", "DELETE", f"/collections/{SECRET}")
    there.ask("admin", "POST", "/collections", collection(SECRET))
    there.ask("admin", "POST", f"/collections/{SECRET}/items", item("old"))

    assert there.ask("anna", "GET", f"/collections/{SECRET}").status_code == 404


def test_nobody_else_sees_a_collection_while_it_is_made(there: World) -> None:
    anna = find_user(there.database, "anna").id
    owner, seen = Principal(anna), []

    def make() -> None:
        seen.append("anna~new" in hidden_collections(there.database, Principal("bert")))
        raise KeyboardInterrupt  # as if it was killed

    with pytest.raises(KeyboardInterrupt):
        make_own(there.database, owner, "anna~new", make)

    assert seen == [True]
    answer = there.ask("anna", "POST", "/collections", collection("anna~new"))
    assert answer.status_code == 201
    assert there.ask("bert", "GET", "/collections/anna~new").status_code == 404


def test_an_id_that_the_operator_uses_already_stays_as_it_is(there: World) -> None:
    there.ask("admin", "POST", "/collections", collection("anna~public"))

    answer = there.ask("anna", "POST", "/collections", collection("anna~public"))

    assert (answer.status_code, answer.json()["code"]) == (409, "CollectionExists")
    assert there.ask("anonymous", "GET", "/collections/anna~public").status_code == 200


def test_on_an_open_server_the_local_user_writes(tmp_path: Path) -> None:
    with TestClient(create_app(Workspace.of(tmp_path))) as client:
        made = client.post("/collections", json=collection("c"))
        added = client.post("/collections/c/items", json=item("a"))
        foreign = client.post(
            "/collections/c/items", json=item("b"), headers={"Origin": "https://other.example"}
        )

    assert (made.status_code, added.status_code, foreign.status_code) == (201, 201, 403)
