"""The page, health, errors, work that nobody waits for, and the port."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

import terrazzo.server
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.server.app import create_app
from terrazzo.server.parts import Parts
from terrazzo.server.running.listen import bound, serving
from terrazzo.server.settings import ServerSettings
from terrazzo.server.web.faults import ServerBusy
from terrazzo.server.web.work import ClientGone, Work

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
STATIC = Path(terrazzo.server.__file__).parent / "static"
PATIENCE_S = 60.0


def test_page_and_its_files_are_served(client: TestClient) -> None:
    page = client.get("/", headers=BROWSER)
    files = re.findall(r'(?:src|href)="[^"]*?(static/[^"]+)"', page.text)

    answers = [client.get(f"/{file}") for file in files]

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    names = {file.rpartition("/")[2] for file in files}
    assert names >= {"icon.svg", "core.css", "explorer.css", "explorer.js"}
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.*")), ids=lambda path: path.name)
def test_page_needs_nothing_from_another_host(path: Path) -> None:
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", path.read_text())

    assert [a for a in addresses if not a.startswith("http://www.w3.org/2000/svg")] == []


def test_page_has_no_script_or_style_of_its_own(client: TestClient) -> None:
    text = client.get("/", headers=BROWSER).text

    assert re.findall(r"<script(?![^>]*src=)", text) == []
    assert "<style" not in text
    assert " style=" not in text
    assert re.findall(r"\son\w+=", text) == []


def test_documentation_from_other_hosts_is_off(client: TestClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").status_code == 200


def test_static_files_cannot_be_left(client: TestClient) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fserver/app.py"):
        answer = client.get(path)

        assert answer.status_code == 404
        assert "create_app" not in answer.text


def test_health(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "ok"


def test_unknown_routes_get_the_same_kind_of_error(client: TestClient) -> None:
    missing, wrong = client.get("/nothing/here"), client.delete("/maps")

    assert (missing.status_code, missing.json()["code"]) == (404, "NotFound")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "MethodNotAllowed")


def test_faults_of_ours_tell_nothing_of_the_inside(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(workspace)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret /etc/path")

    monkeypatch.setattr("terrazzo.server.services.tiles.services_for", broken)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/maps")

    assert answer.status_code == 500
    assert answer.json()["code"] == "Internal"
    assert "secret" not in answer.text


class Waiting:
    """A request whose client goes when `gone` is set."""

    def __init__(self) -> None:
        self.asked, self.gone = asyncio.Event(), asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.asked.set()
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_work_that_nobody_waits_for_does_not_begin() -> None:
    async def scenario() -> list[str]:
        work, ran, begun, hold = Work(1), list[str](), threading.Event(), threading.Event()
        first, second = Waiting(), Waiting()

        def held() -> None:
            begun.set()
            hold.wait(PATIENCE_S)
            ran.append("a")

        running = asyncio.ensure_future(work.run(first, held))  # type: ignore[arg-type]
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        queued = asyncio.ensure_future(work.run(second, lambda: ran.append("b")))  # type: ignore[arg-type]
        await asyncio.wait_for(second.asked.wait(), PATIENCE_S)
        second.gone.set()
        with pytest.raises(ClientGone):
            await queued
        hold.set()
        await running
        work.close()
        return ran

    assert asyncio.run(scenario()) == ["a"]


def test_errors_of_work_arrive() -> None:
    async def scenario() -> None:
        work = Work(1)

        def fail() -> None:
            raise ArgumentInvalid("no")

        with pytest.raises(ArgumentInvalid):
            await work.run(Waiting(), fail)  # type: ignore[arg-type]
        work.close()

    asyncio.run(scenario())


def test_a_full_queue_says_so() -> None:
    async def scenario() -> None:
        work, begun, hold = Work(1, longest_queue=1), threading.Event(), threading.Event()
        running = asyncio.ensure_future(
            work.run(Waiting(), lambda: (begun.set(), hold.wait(PATIENCE_S)))  # type: ignore[arg-type]
        )
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        with pytest.raises(ServerBusy):
            await work.run(Waiting(), lambda: None)  # type: ignore[arg-type]
        hold.set()
        await running
        work.close()

    asyncio.run(scenario())


def test_a_port_in_use_names_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ArgumentInvalid, match="--port"):
            bound("127.0.0.1", port)


def test_a_port_of_the_system_or_an_address_of_nobody_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)

    with pytest.raises(TerrazzoError, match=r"Permission denied.*--host"):
        bound("127.0.0.1", 80)


def test_real_server_answers_over_a_socket(workspace: Workspace) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    alone = ServerSettings(job_workers=0)
    with (
        serving(workspace, settings=alone) as url,
        opener.open(f"{url}/health", timeout=PATIENCE_S) as answer,
    ):
        assert b"ok" in answer.read()


def test_a_server_that_does_not_end_is_left_behind(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def close(_: Parts) -> None:
        may_end.wait()
        ended.set()

    monkeypatch.setattr(Parts, "close", close)
    with serving(workspace, settings=ServerSettings(job_workers=0, grace_seconds=0)):
        pass

    assert not ended.is_set()
    assert "left behind" in caplog.text
    may_end.set()
    assert ended.wait(60)


def test_a_server_starts_without_what_few_requests_need() -> None:
    code = (
        "import sys, terrazzo.server.app; "
        "print([m for m in ('pandas', 'geopandas', 'pyogrio', 'xarray', 'dask', 'zarr') "
        "if m in sys.modules])"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
