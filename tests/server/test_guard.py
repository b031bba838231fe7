"""What no route has to see: bodies without end, clients without haste, foreign names and pages."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient
from tests.server.small import make_home

from terrazzo.server.app import create_app
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import Limits, ServerSettings
from terrazzo.server.web.guard import LONGEST_ADDRESS, Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

JSON = {"Content-Type": "application/json"}
PATIENCE = 60.0
ESTABLISHED = "01"
"""What Linux calls a connection that neither side has closed."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("guard"))


@contextmanager
def client_of(workspace: Workspace, **settings: Any) -> Iterator[TestClient]:
    app = create_app(workspace, ServerSettings(**settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(home: Workspace) -> None:
    with client_of(home, limits=Limits(body_bytes=1000)) as client:
        answer = client.post("/validation", content=b" " * 1001, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (413, "RequestTooLarge")
    assert "1000" in answer.json()["message"]


def test_a_body_that_turns_out_too_large_is_refused(home: Workspace) -> None:
    with client_of(home, limits=Limits(body_bytes=1000)) as client:
        answer = client.post("/validation", content=iter([b" " * 600] * 3), headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (413, "RequestTooLarge")


def test_uploads_have_a_limit_of_their_own(home: Workspace) -> None:
    limits = Limits(body_bytes=100, upload_bytes=1000)
    with client_of(home, limits=limits) as client:
        good = client.put("/files/a.bin", content=b"x" * 900)
        bad = client.put("/files/b.bin", content=b"x" * 1001)

    assert good.status_code == 200
    assert (bad.status_code, bad.json()["code"]) == (400, "FileSizeExceeded")


def test_an_endless_address_is_refused(home: Workspace) -> None:
    with client_of(home) as client:
        answer = client.get("/collections?x=" + "a" * LONGEST_ADDRESS)

    assert (answer.status_code, answer.json()["code"]) == (414, "UriTooLong")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:8080", 200), ("[::1]:80", 200), ("evil.example", 421)],
)
def test_a_server_without_log_ins_answers_under_its_own_names_only(
    home: Workspace, host: str, status: int
) -> None:
    with client_of(home, hosts=("localhost", "127.0.0.1", "[::1]")) as client:
        answer = client.get("/health", headers={"Host": host})

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://testserver", 415), ("https://evil.example", 403), ("null", 403)],
)
def test_pages_of_other_sites_change_nothing_where_nobody_logs_in(
    home: Workspace, origin: str, status: int
) -> None:
    with client_of(home) as client:
        answer = client.post("/jobs", content="x", headers={"Origin": origin})

    assert (answer.status_code == 403) == (status == 403)
    assert answer.status_code < 500


def test_with_log_ins_pages_of_other_sites_may_ask(home: Workspace) -> None:
    with client_of(home, open=False) as client:
        answer = client.post("/jobs", json={}, headers={"Origin": "https://editor.example"})

    assert answer.status_code == 401


def test_nothing_is_there_without_the_secret(home: Workspace) -> None:
    with client_of(home, secret="s" * 32) as client:
        without = [client.get(path) for path in ("/", "/health", f"/{'s' * 31}/health")]
        inside = client.get(f"/{'s' * 32}/")
        link = inside.json()["links"][0]["href"]
        followed = client.get(link.removeprefix("http://testserver"))

    assert {answer.status_code for answer in without} == {404}
    assert inside.status_code == 200
    assert link.startswith(f"http://testserver/{'s' * 32}")
    assert followed.status_code == 200


class Slow:
    """A client that sends one byte each time it is asked, a while later."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


def test_a_body_that_drips_is_cut_off() -> None:
    client, heard = Slow(), list[str]()

    async def app(_: Any, receive: Any, __: Any) -> None:
        while not heard or heard[-1] == "http.request":
            heard.append((await receive())["type"])

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "state": {}}
    guard = Guard(app, ServerSettings(slow_seconds=0.1))
    asyncio.run(guard(scope, client.receive, client.send))  # type: ignore[arg-type]

    assert heard[-1] == "http.disconnect"
    assert client.sent[0]["status"] == 408
    assert json.loads(client.sent[1]["body"])["code"] == "RequestTimeout"


@pytest.fixture(scope="module")
def impatient(home: Workspace) -> Iterator[tuple[str, int]]:
    """Address of a server that waits two seconds for slow clients: none that is quick is late."""
    with serving(home, settings=ServerSettings(slow_seconds=2.0, job_workers=0)) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


def received(line: socket.socket) -> int:
    """Wait until the other side ends; return how many bytes still come."""
    got = 0
    line.settimeout(PATIENCE)
    try:
        while chunk := line.recv(1 << 20):
            got += len(chunk)
    except ConnectionResetError:
        pass
    return got


def drips_until_dropped(line: socket.socket) -> bool:
    """Send a header every tenth of a second until that fails."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            line.sendall(b"X-A: b\r\n")
        except OSError:
            return True
        time.sleep(0.1)
    return False


def is_open_there(line: socket.socket) -> bool:
    """Tell whether the other side, which is on this machine, too, has not closed a connection."""
    ours, theirs = (f":{name[1]:04X}" for name in (line.getsockname(), line.getpeername()))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    return any(
        row[1].endswith(theirs) and row[2].endswith(ours) and row[3] == ESTABLISHED for row in rows
    )


@pytest.mark.parametrize("begin", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_client_that_never_finishes_its_request_is_dropped(
    impatient: tuple[str, int], begin: bytes
) -> None:
    with socket.create_connection(impatient) as line:
        line.sendall(begin)

        assert received(line) < 1000


def test_a_client_that_drips_its_head_is_dropped_all_the_same(impatient: tuple[str, int]) -> None:
    with socket.create_connection(impatient) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")

        assert drips_until_dropped(line)


def test_a_client_that_asks_and_does_not_read_is_dropped(impatient: tuple[str, int]) -> None:
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(impatient)
        ask = b"GET /static/components/openeo.min.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        line.sendall(ask * 40)
        end = time.monotonic() + PATIENCE
        while is_open_there(line):
            assert time.monotonic() < end
            time.sleep(0.1)

        assert received(line) < 40 * 600_000


def test_a_client_that_is_only_idle_between_requests_is_served_again(
    impatient: tuple[str, int],
) -> None:
    line = http.client.HTTPConnection(*impatient)
    for _ in range(3):
        line.request("GET", "/health")
        answer = line.getresponse()
        assert answer.status == 200
        answer.read()
        time.sleep(0.9)  # three times is longer than a slow client has
    line.close()


GARBAGE = (
    b"\x00\x01\x02\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /%00/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /files/%2e%2e/%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: \xe9\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nAccept: ;;;q=x,,\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST /validation HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /validation HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
    b"POST /validation HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    (
        b"POST /validation HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 4\r\n\r\n\xff\xfe{}"
    ),
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
)


@pytest.mark.parametrize("begin", GARBAGE)
def test_what_is_no_request_does_no_harm(impatient: tuple[str, int], begin: bytes) -> None:
    with socket.create_connection(impatient, timeout=PATIENCE) as line:
        line.sendall(begin)
        first = line.recv(4096)
    good = http.client.HTTPConnection(*impatient)
    good.request("GET", "/health")

    assert not first or first.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4"))
    assert good.getresponse().read().startswith(b'{"status":"ok"')
    good.close()
