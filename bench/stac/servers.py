"""The servers that are compared, each in processes of its own, and the CPU time they take."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
from tests.ledger import postgresql

from bench.http_load import cpu_of, served
from bench.measure import environment
from bench.stac.items import collections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.stac.queries import Asked

SHARED = "TERRAZZO_SHARED"
"""Names the folder whose `services/pgstac.sh` starts PostgreSQL."""
READY = 120.0
"""Seconds that a server may take to start, or to answer."""
OURS, OURS_THERE = "Terrazzo", "Terrazzo, on pgSTAC"
QUERYABLES = {
    "eo:cloud_cover": {"type": "number", "minimum": 0, "maximum": 100},
    "platform": {"type": "string"},
    "gsd": {"type": "number"},
    "grid:code": {"type": "string"},
    "sat:relative_orbit": {"type": "integer"},
}
INDEXED = ("eo:cloud_cover",)


class CatalogueFailedError(RuntimeError):
    """A server did not start, or answered with an error."""


@dataclass(frozen=True, slots=True)
class CatalogueServer:
    """A STAC API and all processes behind it."""

    name: str
    """As in the tables."""
    url: str
    """Its root."""
    cpu: Callable[[], float]
    """Returns the CPU seconds of all its processes so far."""

    @contextlib.contextmanager
    def line(self) -> Iterator[Line]:
        """Open a connection to it, kept alive."""
        line = Line(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=READY))
        try:
            yield line
        finally:
            line.connection.close()


@dataclass(frozen=True, slots=True)
class Line:
    """A connection on which one request follows another."""

    connection: http.client.HTTPConnection
    """Kept alive."""

    def ask(self, asked: Asked) -> bytes:
        """Return the body of an answer.

        Raises:
            CatalogueFailedError: the answer is no success.
        """
        headers = {"Content-Type": "application/json"} if asked.body else {}
        method = "POST" if asked.body else "GET"
        self.connection.request(method, asked.path, asked.body or None, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise CatalogueFailedError(
                f"{method} {asked.path}: {answer.status} {content[:500].decode(errors='replace')}"
            )
        return content


def cpu_of_tree(pid: int) -> float:
    """Return the CPU seconds of a process and its children, ended ones among them."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    total = cpu_of(pid) + ended
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        with contextlib.suppress(OSError):  # it has just ended
            total += cpu_of(int(child))
    return total


# PostgreSQL


@dataclass(frozen=True, slots=True)
class Pgstac:
    """A database with pgSTAC."""

    address: str
    """`postgresql://...`"""
    postmaster: int
    """The parent of all its processes."""

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes so far."""
        return cpu_of_tree(self.postmaster)

    def bytes(self) -> int:
        """Return what the database takes on disk."""
        with psycopg.connect(self.address) as connection:
            row = connection.execute("select pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0

    def count(self) -> int:
        """Return how many items it has."""
        with psycopg.connect(self.address) as connection:
            row = connection.execute("select count(*) from pgstac.items").fetchone()
        return int(row[0]) if row else 0

    def tidy(self) -> None:
        """Index and analyse what was loaded, as pgSTAC advises, and leave it at that."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute("set search_path to pgstac, public")
            connection.execute("select maintain_partitions()")
            connection.execute("vacuum analyze")


@contextlib.contextmanager
def pgstac() -> Iterator[Pgstac]:
    """Run PostgreSQL with an empty pgSTAC while the block runs: collections, typed queryables."""
    with postgresql.server(Path(os.environ[SHARED])) as root, postgresql.fresh(root) as address:
        with psycopg.connect(address, autocommit=True) as connection:
            # What it does by itself would fall into somebody's measurement.
            connection.execute("alter system set autovacuum = off")
            connection.execute("select pg_reload_conf()")
            connection.execute("create extension postgis")
            row = connection.execute("select pg_backend_pid()").fetchone()
            parent = int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(")")[2].split()[1])
        command("pypgstac", "migrate", "--dsn", address)
        with tempfile.TemporaryDirectory() as folder:
            wanted = Path(folder) / "queryables.json"
            wanted.write_text(json.dumps({"type": "object", "properties": QUERYABLES}))
            command(
                "pypgstac", "load_queryables", str(wanted), "--index_fields",
                json.dumps(INDEXED), "--dsn", address,
            )  # fmt: skip
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("set search_path to pgstac, public")
            for document in collections():
                connection.execute("select create_collection(%s)", [json.dumps(document)])
        yield Pgstac(address, parent)


def command(name: str, *arguments: str) -> None:
    """Run a program that is installed beside this Python.

    Raises:
        CatalogueFailedError: it fails; the message is what it said.
    """
    program = Path(sys.executable).with_name(name)
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CatalogueFailedError(f"{name}: {done.stderr[-2000:]}")


# servers


@contextlib.contextmanager
def stac_fastapi(database: Pgstac, *, hydrate: bool) -> Iterator[CatalogueServer]:
    """Run stac-fastapi-pgstac, one worker with one connection, while the block runs.

    Args:
        database: with the items.
        hydrate: whether the server puts items together, instead of the database.
    """
    port = _free_port()
    parts = urlsplit(database.address)
    settings = {
        "PGUSER": parts.username or "postgres", "PGPASSWORD": "x",
        "PGHOST": parts.hostname or "", "PGPORT": str(parts.port),
        "PGDATABASE": parts.path[1:], "DB_MIN_CONN_SIZE": "1", "DB_MAX_CONN_SIZE": "1",
        "ENABLE_TRANSACTIONS_EXTENSIONS": "true", "USE_API_HYDRATE": str(hydrate),
        "STAC_FASTAPI_TITLE": "bench", "STAC_FASTAPI_DESCRIPTION": "bench",
        "STAC_FASTAPI_LANDING_ID": "bench", "STAC_FASTAPI_VERSION": "1",
    }  # fmt: skip
    program = [sys.executable, "-W", "ignore", "-m", "uvicorn", "--factory"]
    program += ["stac_fastapi.pgstac.app:create_app", "--port", str(port)]
    program += ["--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(
        program, env=environment() | settings, cwd=tempfile.gettempdir(), stdin=subprocess.DEVNULL
    )
    try:
        _wait(process, port, "/_mgmt/ping")
        cpu = lambda: cpu_of(process.pid) + database.cpu()  # noqa: E731 - two of a kind
        name = f"stac-fastapi-pgstac{', USE_API_HYDRATE' if hydrate else ''}"
        yield CatalogueServer(name, f"http://127.0.0.1:{port}", cpu)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def terrazzo(home: Path, database: Pgstac | None = None) -> Iterator[CatalogueServer]:
    """Run our server of a workspace, one worker, while the block runs.

    Args:
        home: the workspace, with the catalogue unless that is in a database.
        database: with the catalogue.
    """
    if database is None:
        with served(home) as server:
            yield CatalogueServer(OURS, server.url, server.cpu)
        return
    with served(home, catalog=database.address) as server:
        cpu = lambda: server.cpu() + database.cpu()  # noqa: E731 - two of a kind
        yield CatalogueServer(OURS_THERE, server.url, cpu)


def _wait(process: subprocess.Popen[Any], port: int, path: str) -> None:
    """Wait until a server answers."""
    late = time.monotonic() + READY
    while process.poll() is None and time.monotonic() < late:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=READY)
        with contextlib.suppress(OSError):
            line.request("GET", path)
            if line.getresponse().status == HTTPStatus.OK:
                line.close()
                return
        line.close()
        time.sleep(0.1)
    raise CatalogueFailedError(f"{process.args!r} does not answer, or ended: {process.poll()}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
