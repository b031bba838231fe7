"""`terrazzo.connect`: a server without set-up, for one user, as long as Python runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio
from tests.server.program import ROOT, all_gone, runs
from tests.server.small import EDGE, make_home, nir, red

import terrazzo
from terrazzo import client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openeo.rest.connection import Connection


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("connect")
    make_home(folder)
    return folder


@pytest.fixture(scope="module")
def connection(home: Path) -> Iterator[Connection]:
    yield terrazzo.connect(home=home)
    for server in client._servers.values():
        server.end()


def status(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_official_client_works_without_set_up(connection: Connection, tmp_path: Path) -> None:
    cube = connection.load_collection("small", bands=["red", "nir"])
    cube = cube.filter_temporal("2018-05-01", "2018-05-02").ndvi(nir="nir", red="red")
    cube.reduce_dimension("t", "first").download(tmp_path / "ndvi.tif", format="GTiff")

    with rasterio.open(tmp_path / "ndvi.tif") as file:
        found, valid = file.read(1), file.read_masks(1) > 0
    r, n = red(2018).astype(float), nir(2018).astype(float)
    assert found.shape == (EDGE, EDGE)
    assert (valid == (red(2018) > 0)).all()
    np.testing.assert_allclose(found[valid], ((n - r) / (n + r))[valid], rtol=1e-6)


def test_a_second_call_uses_the_same_server(connection: Connection, home: Path) -> None:
    again = terrazzo.connect(home=str(home))

    assert again is not connection
    assert again.root_url == connection.root_url


def test_others_of_this_machine_find_nothing_at_its_port(connection: Connection) -> None:
    parts = urlsplit(connection.root_url)
    port = f"http://{parts.netloc}"

    assert parts.hostname == "127.0.0.1"
    assert len(parts.path.strip("/")) >= 32
    assert status(connection.root_url) == 200
    assert {status(f"{port}{path}") for path in ("/", "/jobs", "/health", "/metrics")} == {404}
    assert status(f"{port}{parts.path.rstrip('/')[:-1]}/jobs") == 404


def test_its_secret_is_not_in_the_list_of_processes(connection: Connection) -> None:
    secret = urlsplit(connection.root_url).path.strip("/").encode()
    shown = b""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            shown += entry.read_bytes()
        except OSError:
            continue

    assert b"--embedded" in shown
    assert secret not in shown


def test_addresses_in_answers_work_in_a_browser(connection: Connection) -> None:
    links = {link["rel"]: link["href"] for link in connection.get("/").json()["links"]}

    assert links["data"].startswith(connection.root_url.rstrip("/"))
    assert status(links["data"]) == 200


def test_an_address_is_passed_on(connection: Connection) -> None:
    other = terrazzo.connect(connection.root_url)

    assert other.list_collection_ids() == ["small"]


SCRIPT = """
    import sys, terrazzo
    from terrazzo import client
    connection = terrazzo.connect(home=sys.argv[1])
    print(connection.list_collection_ids(), [s._process.pid for s in client._servers.values()][0])
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["returns", "killed"])
def test_the_server_ends_with_python_however_that_ends(home: Path, end: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(home)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    names, _, pid = process.stdout.readline().strip().rpartition(" ")
    assert names == "['small']"
    assert runs(int(pid))

    if end == "killed":
        process.send_signal(signal.SIGKILL)
    process.communicate("")

    assert all_gone([int(pid)])


def test_a_server_that_has_ended_is_started_again_with_its_log_where_it_is_wanted(
    tmp_path: Path,
) -> None:
    home, log = tmp_path / "new", tmp_path / "server.log"
    first = terrazzo.connect(home=home)
    server = client._servers[home]
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()

    second = terrazzo.connect(home=home, log=log)

    assert second.root_url != first.root_url
    assert second.list_collection_ids() == []
    client._servers.pop(home).end()
    assert '"path": "/collections"' in log.read_text()


def test_why_a_server_did_not_start_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(client.ServerNotStarted, match="file"):
        terrazzo.connect(home=tmp_path / "file")


def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openeo.rest", None)

    with pytest.raises(client.ClientMissing, match=r"pip install 'terrazzo\[client\]'"):
        terrazzo.connect()


def test_a_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        terrazzo.nothing  # type: ignore[attr-defined]  # noqa: B018 - it is what is tested
