"""Log-ins with a password over HTTP, and what the account then tells."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.openapi import checked
from tests.server.people import CHEAP, PASSWORD, bearer, closed, ledger, newcomer

from terrazzo.drivers.job import Workspace
from terrazzo.ledger import passwords
from terrazzo.ledger.licences import set_licence
from terrazzo.ledger.tokens import FREE_FAILURES
from terrazzo.ledger.users import add_user, change_user, find_user, remove_user
from terrazzo.server.app import create_app
from terrazzo.server.running.opening import LoginMissing, opened
from terrazzo.server.settings import OidcProvider, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.ledger import Database

pytestmark = pytest.mark.usefixtures("shared")

PROVIDER = OidcProvider("egi", "https://aai.example.org", client="openeo")


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", CHEAP)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[Any]:
    with TestClient(create_app(Workspace.of(home), closed(token_hours=2.0))) as plain:
        yield checked(plain)


@pytest.fixture
def database(home: Path, client: Any) -> Iterator[Database]:
    assert client
    database = ledger(home)
    add_user(database, "alice", PASSWORD, name="Alice A.", groups=["agri"])
    yield database
    database.close()


def basic(login: str, password: str, encoding: str = "utf-8") -> dict[str, str]:
    given = base64.b64encode(f"{login}:{password}".encode(encoding)).decode()
    return {"Authorization": f"Basic {given}"}


def test_who_knows_the_password_gets_a_token_that_works(client: Any, database: Database):
    answer = client.get("/credentials/basic", headers=basic("alice", PASSWORD))
    token = answer.json()["access_token"]

    told = client.get("/me", headers={"Authorization": f"Bearer basic//{token}"}).json()

    assert answer.headers["cache-control"] == "no-store"
    assert told["user_id"] == find_user(database, "alice").id
    assert (told["name"], told["groups"]) == ("Alice A.", ["agri"])
    assert "budget" not in told


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_password_may_come_as_clients_write_it(client: Any, database: Database, encoding: str):
    add_user(database, "zoe", "schöne Grüße")

    answer = client.get("/credentials/basic", headers=basic("zoe", "schöne Grüße", encoding))

    assert answer.status_code == 200


@pytest.mark.parametrize("login", ["alice", "nobody", "", "a\0b", "alice\n"])
def test_wrong_credentials_tell_nothing(client: Any, database: Database, login: str):
    assert database

    answer = client.get("/credentials/basic", headers=basic(login, "wrong password"))

    assert answer.status_code == 403
    assert answer.json()["code"] == "CredentialsInvalid"
    assert "alice" not in answer.text


def test_who_guesses_is_told_how_long_to_wait(client: Any, database: Database):
    assert database
    for _ in range(FREE_FAILURES + 6):
        answer = client.get("/credentials/basic", headers=basic("alice", "wrong password"))

    assert answer.status_code == 429
    assert answer.json()["code"] == "TooManyFailures"
    assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 401, "AuthenticationRequired"),
        ("Basic", 403, "AuthenticationSchemeInvalid"),
        ("Basic not-base64!", 403, "AuthenticationSchemeInvalid"),
        ("Basic YWxpY2U=", 403, "AuthenticationSchemeInvalid"),
        ("Bearer basic//x", 403, "AuthenticationSchemeInvalid"),
    ],
)
def test_only_the_basic_scheme_logs_in(client: Any, header: str | None, status: int, code: str):
    answer = client.get("/credentials/basic", headers={"Authorization": header} if header else {})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 401, "AuthenticationRequired"),
        ("Bearer basic//wrong", 403, "TokenInvalid"),
        ("Bearer basic//" + "x" * 5000, 403, "TokenInvalid"),
        ("bearer basic//wrong", 403, "TokenInvalid"),
        ("Bearer basic//", 403, "AuthenticationSchemeInvalid"),
        ("Bearer basic/x/wrong", 403, "AuthenticationSchemeInvalid"),
        ("Bearer oidc/egi/wrong", 403, "AuthenticationSchemeInvalid"),
        ("Bearer oidc//wrong", 403, "AuthenticationSchemeInvalid"),
        ("Bearer saml/x/wrong", 403, "AuthenticationSchemeInvalid"),
        ("Bearer wrong", 403, "AuthenticationSchemeInvalid"),
        ("Bearer", 403, "AuthenticationSchemeInvalid"),
        ("", 403, "AuthenticationSchemeInvalid"),
        ("Basic YWxpY2U6eA==", 403, "AuthenticationSchemeInvalid"),
        ("Digest x", 403, "AuthenticationSchemeInvalid"),
    ],
)
def test_a_header_that_is_no_token_is_refused(
    client: Any, header: str | None, status: int, code: str
):
    headers = {} if header is None else {"Authorization": header}

    answer = client.get("/me", headers=headers)
    public = client.get("/collections", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert public.status_code == (200 if header is None else status)
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_a_token_ends_with_its_time_its_password_and_its_account(client: Any, database: Database):
    expired = bearer(database, "alice", hours=-1.0)
    first = bearer(database, "alice")
    assert client.get("/me", headers=first).status_code == 200

    change_user(database, "alice", password=f"{PASSWORD}!")
    changed = client.get("/me", headers=first)
    second = newcomer(database, "bob")
    change_user(database, "bob", enabled=False)
    disabled = client.get("/me", headers=second)
    third = newcomer(database, "carol")
    remove_user(database, "carol")

    for answer in (
        client.get("/me", headers=expired), changed, disabled, client.get("/me", headers=third)
    ):  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (403, "TokenInvalid")


def test_a_token_lasts_as_long_as_the_operator_says(client: Any, database: Database):
    client.get("/credentials/basic", headers=basic("alice", PASSWORD))

    with database.reading() as connection:
        [(created, expires)] = connection.exec_driver_sql(
            "select created, expires from token"
        ).all()
    assert int(expires[11:13]) - int(created[11:13]) in {2, -22}


def test_licences_are_accepted_and_withdrawn_over_http(client: Any, database: Database):
    set_licence(database, "vhr", title="Very high resolution", href="https://example.org/vhr")
    alice = bearer(database, "alice")

    before = client.get("/me/licences", headers=alice).json()["licences"]
    accepted = client.post("/me/licences", headers=alice, json={"id": "vhr"})
    after = client.get("/me/licences", headers=alice).json()["licences"]

    assert [one["id"] for one in before] == ["vhr"]
    assert "accepted" not in before[0]
    assert before[0]["links"][0]["href"] == "https://example.org/vhr"
    assert accepted.status_code == 200
    assert after == [accepted.json()]
    assert client.delete("/me/licences/vhr", headers=alice).status_code == 204
    assert client.delete("/me/licences/vhr", headers=alice).status_code == 404
    assert client.get("/me/licences", headers=alice).json()["licences"] == before


@pytest.mark.parametrize(
    ("body", "status"),
    [({"id": "other"}, 404), ({}, 400), ({"id": 1}, 400), ({"id": "x" * 101}, 400), ([], 400),
     ({"id": "vhr", "more": 1}, 400)],
)  # fmt: skip
def test_only_licences_that_there_are_are_accepted(
    client: Any, database: Database, body: Any, status: int
):
    set_licence(database, "vhr")

    answer = client.post("/me/licences", headers=bearer(database, "alice"), json=body)

    assert answer.status_code == status
    assert client.post("/me/licences", json={"id": "vhr"}).status_code == 401


def test_providers_are_listed_with_what_clients_need(home: Path):
    whole = OidcProvider(
        "egi", "https://aai.example.org/oidc", "EGI", client="openeo",
        redirect_urls=("https://editor.example.org/",), description="Academic log-in.",
    )  # fmt: skip
    bare = OidcProvider("edu", "https://edu.example.org", audience="urn:eo")
    app = create_app(Workspace.of(home), closed(providers=(whole, bare)))
    with TestClient(app) as plain:
        told = checked(plain).get("/credentials/oidc").json()["providers"]

    assert told[0] == {
        "id": "egi",
        "issuer": "https://aai.example.org/oidc",
        "title": "EGI",
        "scopes": ["openid", "email", "profile"],
        "description": "Academic log-in.",
        "default_clients": [
            {
                "id": "openeo",
                "grant_types": [
                    "urn:ietf:params:oauth:grant-type:device_code+pkce",
                    "authorization_code+pkce",
                    "refresh_token",
                ],
                "redirect_urls": ["https://editor.example.org/"],
            }
        ],
    }
    assert told[1]["id"] == "edu"
    assert "default_clients" not in told[1]


def test_a_server_without_providers_says_so(client: Any):
    assert client.get("/credentials/oidc").status_code == 404


def test_an_open_server_knows_one_user_whatever_the_header(home: Path):
    with TestClient(create_app(Workspace.of(home), ServerSettings(job_workers=0))) as plain:
        client = checked(plain)
        for headers in ({}, {"Authorization": "Bearer basic//x"}, {"Authorization": "nonsense"}):
            assert client.get("/me", headers=headers).json()["user_id"] == "local"
        refused = client.get("/credentials/basic", headers=basic("alice", PASSWORD))
    assert refused.json()["code"] == "CredentialsInvalid"
    assert "no accounts" in refused.json()["message"]


def test_a_server_is_open_only_to_its_own_machine_and_without_accounts(home: Path):
    workspace = Workspace.of(home)
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        told = opened(workspace, ServerSettings(), host)
        assert told.open
        assert {"localhost", "127.0.0.1", host} <= set(told.hosts)
    for host in ("0.0.0.0", "::", "192.0.2.7", "terrazzo.example.org", ""):  # noqa: S104 - refused
        with pytest.raises(LoginMissing, match="terrazzo user add"):
            opened(workspace, ServerSettings(), host)
        assert not opened(workspace, ServerSettings(providers=(PROVIDER,)), host).open
    database = ledger(home)
    newcomer(database, "alice")
    database.close()

    assert not opened(workspace, ServerSettings(), "0.0.0.0").open  # noqa: S104
    assert not opened(workspace, ServerSettings(), "127.0.0.1").open


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_an_open_server_answers_under_no_other_name(home: Path, host: str):
    workspace = Workspace.of(home)
    settings = opened(workspace, ServerSettings(job_workers=0), "127.0.0.1")
    with TestClient(create_app(workspace, settings), base_url="http://127.0.0.1:8080") as client:
        assert client.get("/me").status_code == 200
        assert client.get("/me", headers={"Host": "localhost:8080"}).status_code == 200

        answer = client.get("/me", headers={"Host": host})

    assert answer.status_code == 421
    assert "local" not in answer.json().get("user_id", "")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
def test_pages_of_other_sites_change_nothing_on_an_open_server(home: Path, origin: str):
    workspace = Workspace.of(home)
    settings = opened(workspace, ServerSettings(job_workers=0), "127.0.0.1")
    with TestClient(create_app(workspace, settings), base_url="http://127.0.0.1:8080") as client:
        refused = client.put("/files/a", content=b"x", headers={"Origin": origin})
        read = client.get("/me", headers={"Origin": origin})
        own = client.put(
            "/files/b", content=b"x", headers={"Origin": "http://127.0.0.1:8080"}
        ).status_code  # fmt: skip
        listed = client.get("/files").json()["files"]

    assert refused.status_code == 403
    assert "access-control-allow-origin" not in read.headers
    assert own == 200
    assert [one["path"] for one in listed] == ["b"]
