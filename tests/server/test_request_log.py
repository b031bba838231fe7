"""What the log says of requests: enough to find an error again, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import Request  # noqa: TC002 - FastAPI reads it
from starlette.testclient import TestClient
from tests.server.small import make_home

from terrazzo.server.app import create_app
from terrazzo.server.settings import ServerSettings
from terrazzo.server.web.log import HIDDEN, LONGEST, hidden, set_up_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from terrazzo.drivers.job import Workspace


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("log"))


@contextmanager
def told(form: str = "json") -> Iterator[io.StringIO]:
    """Let the log of this process go to a text while the block runs."""
    names = (None, "terrazzo", "rasterio")
    root = logging.getLogger()
    before = root.handlers[:], [logging.getLogger(name).level for name in names]
    out = io.StringIO()
    set_up_log(form, out)
    try:
        yield out
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before[0]
        for name, level in zip(names, before[1], strict=True):
            logging.getLogger(name).setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@contextmanager
def client_of(workspace: Workspace, **settings: Any) -> Iterator[tuple[TestClient, FastAPI]]:
    app = create_app(workspace, ServerSettings(**settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, app


def test_a_request_is_one_line_with_what_an_operator_asks(home: Workspace) -> None:
    with told() as out, client_of(home) as (client, _):
        answer = client.get("/collections/small", headers={"X-Request-Id": "mine-1"})

    (line,) = lines(out)
    assert answer.headers["x-request-id"] == line["request_id"] == "mine-1"
    assert (line["event"], line["level"], line["method"]) == ("request", "info", "GET")
    assert (line["path"], line["status"]) == ("/collections/small", 200)
    assert re.fullmatch(r"/collections/\{[\w:]+\}", line["route"])
    assert line["bytes_out"] == len(answer.content)
    assert line["bytes_in"] == 0
    assert line["ms"] > 0
    assert line["principal"] == "local"
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'id","level":"error', "\x7f"])
def test_an_id_that_could_forge_lines_is_replaced(home: Workspace, given: str) -> None:
    with told() as out, client_of(home) as (client, _):
        answer = client.get("/conformance", headers={"X-Request-Id": given})

    (line,) = lines(out)
    assert answer.headers["x-request-id"] == line["request_id"]
    assert re.fullmatch("[0-9a-f]{32}", line["request_id"])


def test_requests_without_an_id_get_different_ones(home: Workspace) -> None:
    with client_of(home) as (client, _):
        ids = {client.get("/conformance").headers["x-request-id"] for _ in range(5)}

    assert len(ids) == 5


def test_the_id_of_every_error_is_in_the_log(home: Workspace) -> None:
    with told() as out, client_of(home) as (client, _):
        answers = [
            client.get("/collections/none"),
            client.get("/nothing"),
            client.get("/jobs?limit=0"),
            client.request("BREW", "/health"),
        ]

    found = {line["error"]: line for line in lines(out) if line["event"] == "request"}
    for answer in answers:
        line = found[answer.json()["id"]]
        assert (line["status"], line["code"]) == (answer.status_code, answer.json()["code"])


def test_a_fault_of_the_program_is_told_to_the_log_and_not_to_the_client(home: Workspace) -> None:
    with told() as out, client_of(home) as (client, app):

        @app.get("/broken")
        def broken() -> None:
            raise RuntimeError("the reason /etc/path")

        answer = client.get("/broken")

    fault, request = lines(out)
    assert answer.status_code == 500
    assert answer.json()["code"] == "Internal"
    assert "reason" not in answer.text
    assert fault["error"] == request["error"] == answer.json()["id"]
    assert "RuntimeError: the reason" in fault["exception"]
    assert (request["status"], request["level"]) == (500, "error")
    assert fault["request_id"] == request["request_id"] == answer.headers["x-request-id"]


def test_lines_of_other_parts_carry_the_request_that_they_are_about(home: Workspace) -> None:
    with told() as out, client_of(home) as (client, app):

        def warn() -> None:
            logging.getLogger("terrazzo.storage").warning("odd file %s", "x.tif")

        @app.get("/warns")
        async def warns(request: Request) -> None:
            await app.state.parts.work.run(request, warn)

        client.get("/warns", headers={"X-Request-Id": "abc"})

    warning, _ = lines(out)
    assert (warning["event"], warning["level"]) == ("odd file x.tif", "warning")
    assert warning["request_id"] == "abc"
    assert warning["logger"] == "terrazzo.storage"


SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"  # noqa: S105 - nobody's


def test_tokens_keys_and_signatures_are_never_in_the_log(home: Workspace) -> None:
    headers = {"Authorization": f"Bearer basic//{SECRET}"}
    with told() as out, client_of(home, open=False) as (client, app):

        @app.get("/signed/{signature}/{name}")
        def signed(signature: str, name: str) -> dict[str, str]:
            return {signature: name}

        client.get(f"/jobs?signature={SECRET}", headers=headers)
        client.get(f"/collections?token={SECRET}&x={SECRET}", headers=headers)
        client.get(f"/signed/{SECRET}/a.tif")
        client.get(f"/nowhere/{SECRET}", headers={"Authorization": f"Basic {SECRET}"})
        client.get("/credentials/basic", auth=("anna", SECRET))

    assert SECRET not in out.getvalue()
    paths = [line["path"] for line in lines(out) if line["event"] == "request"]
    assert paths == [
        "/jobs", "/collections", f"/signed/{HIDDEN}/a.tif", f"/nowhere/{HIDDEN}",
        "/credentials/basic",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer oidc/egi/abc.def", "Authorization: Bearer [hidden]"),
        ("refused oidc/egi/abc.def here", "refused oidc/egi/[hidden] here"),
        ("GET /a?signature=abc&x=1", "GET /a?signature=[hidden]&x=1"),
        ('{"password": "abc", "a": 1}', '{"password": "[hidden]", "a": 1}'),
        ("postgresql://me:abc@db/x", "postgresql://me:[hidden]@db/x"),
        ("AWS_SECRET_ACCESS_KEY and secret=abc", "AWS_SECRET_ACCESS_KEY and secret=[hidden]"),
        ("nothing of that kind: a/b?c=d", "nothing of that kind: a/b?c=d"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, left: str) -> None:
    assert hidden(text) == left


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_in_messages_and_tracebacks_are_hidden(form: str) -> None:
    with told(form) as out:
        try:
            int(f"bad token={SECRET}")
        except ValueError:
            logging.getLogger("terrazzo.x").exception("password=%s", SECRET)

    assert SECRET not in out.getvalue()
    assert "ValueError: invalid literal" in out.getvalue()


def test_probes_are_counted_and_not_logged(home: Workspace) -> None:
    with told() as out, client_of(home) as (client, _):
        client.get("/health")
        client.get("/health/ready")

    assert out.getvalue() == ""


def test_lines_on_a_terminal_are_readable(home: Workspace) -> None:
    with told("text") as out, client_of(home) as (client, _):
        client.get("/conformance", headers={"X-Request-Id": "mine"})

    (line,) = out.getvalue().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \[info\s*\] request", line)
    assert "request_id=mine" in line
    assert "status=200" in line


@pytest.mark.parametrize("piece", ["a.", "x.token", "a+", "oidc/", "a://b:", "basic ", "token ="])
def test_whoever_writes_what_is_logged_cannot_hold_up_the_server(piece: str) -> None:
    # With quadratic costs 1,000,000 letters take hours.
    text = piece * (1_000_000 // len(piece))

    assert hidden(text).startswith(piece[:4])


def test_of_long_texts_the_ends_are_logged() -> None:
    with told() as out:
        logging.getLogger("terrazzo.x").warning("%s", "begin" + 1_000_000 * "x" + "end")

    (line,) = lines(out)
    assert line["event"].startswith("begin")
    assert line["event"].endswith("end")
    assert "letters left out" in line["event"]
    assert len(line["event"]) < LONGEST + 100
