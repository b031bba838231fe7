"""Which pages of other sites may ask, with log-ins and without."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.small import make_home

from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

EDITOR, OTHER = "https://editor.example", "https://other.example"
EXPOSED = {"Location", "OpenEO-Identifier", "OpenEO-Costs", "Link"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("cors"))


@contextmanager
def client_of(workspace: Workspace, **settings: Any) -> Iterator[TestClient]:
    app = create_app(workspace, ServerSettings(**settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def listed(value: str) -> set[str]:
    return {part.strip() for part in value.split(",")}


@pytest.mark.parametrize("path", ["/", "/jobs", "/nothing", "/static/icon.svg"])
def test_with_log_ins_every_answer_can_be_read_by_every_page(home: Workspace, path: str) -> None:
    with client_of(home, open=False) as client:
        answer = client.get(path, headers={"Origin": EDITOR})

    assert answer.headers["access-control-allow-origin"] == "*"
    assert listed(answer.headers["access-control-expose-headers"]) >= EXPOSED


def test_faults_can_be_read_by_every_page(home: Workspace) -> None:
    with client_of(home, open=False) as client:

        @client.app.get("/broken")  # type: ignore[attr-defined,untyped-decorator]
        def broken() -> None:
            raise RuntimeError

        answer = client.get("/broken", headers={"Origin": EDITOR})

    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/jobs", "/result", "/process_graphs/x", "/nothing"])
def test_preflight_requests_are_answered_without_a_body(home: Workspace, path: str) -> None:
    asks = {
        "Origin": EDITOR,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "Authorization, Content-Type",
    }

    with client_of(home, open=False) as client:
        answer = client.options(path, headers=asks)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert listed(answer.headers["access-control-allow-headers"]) >= {
        "Authorization",
        "Content-Type",
    }
    methods = {"OPTIONS", "GET", "POST", "PATCH", "PUT", "DELETE"}
    assert listed(answer.headers["access-control-allow-methods"]) >= methods
    assert listed(answer.headers["access-control-expose-headers"]) >= EXPOSED
    assert answer.headers["content-type"] == "application/json"


def test_without_log_ins_no_other_page_may_read_anything(home: Workspace) -> None:
    with client_of(home) as client:
        answers = [
            client.get("/", headers={"Origin": EDITOR}),
            client.options("/jobs", headers={"Origin": EDITOR}),
        ]

    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_without_log_ins_one_page_may_if_the_operator_says_so(home: Workspace) -> None:
    with client_of(home, cors=EDITOR) as client:
        named = client.get("/", headers={"Origin": EDITOR})
        allowed = client.options("/jobs", headers={"Origin": EDITOR})
        other = client.get("/", headers={"Origin": OTHER})

    assert named.headers["access-control-allow-origin"] == EDITOR
    assert "Origin" in named.headers["vary"]
    assert allowed.status_code == 204
    assert "access-control-allow-origin" not in other.headers
