"""The whole service with its catalogue in PostgreSQL: ingest, find, tile, result, job."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pystac_client
import pytest
import rasterio
from tests.catalog.conftest import pgstac_server
from tests.server.program import PATIENCE, serve
from tests.server.small import COLLECTION, DATES, graph, nir, red, write_images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.program import Program

PASSWORD = "geheim-und-lang"  # noqa: S105 - the server of this test asks for none

pytestmark = pytest.mark.slow


def terrazzo(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(
        [sys.executable, "-c", "from terrazzo.cli import main; main()", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def catalog(shared: Path) -> Iterator[str]:
    """The URL of an empty database, as an operator writes it."""
    with pgstac_server(shared) as databases, databases() as address:
        yield address.replace("postgres@", f"postgres:{PASSWORD}@")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, catalog: str) -> Path:
    """A home folder into whose catalogue the small collection was ingested."""
    home = tmp_path_factory.mktemp("home")
    write_images(home / "images")
    told = terrazzo(
        "ingest", home / "images", "--collection", COLLECTION, "--bands", "red,nir",
        TERRAZZO_HOME=str(home), TERRAZZO_CATALOG=catalog,
    )  # fmt: skip
    assert PASSWORD not in told.stdout + told.stderr
    return home


@pytest.fixture(scope="module")
def program(home: Path, catalog: str) -> Iterator[Program]:
    with serve(home, "--workers", "2", TERRAZZO_CATALOG=catalog) as found:
        yield found


def post(program: Program, path: str, body: Any) -> tuple[http.client.HTTPResponse, bytes]:
    line = http.client.HTTPConnection(urlsplit(program.url).netloc, timeout=PATIENCE)
    prefix = urlsplit(program.url).path
    line.request("POST", prefix + path, json.dumps(body), {"Content-Type": "application/json"})
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer, content


def ndvi(date: str) -> np.ndarray[Any, Any]:
    """Return the index from the numbers in the files."""
    year = int(date[:4])
    r, n = red(year).astype(float), nir(year).astype(float)
    r[:40, :40] = np.nan
    return (n - r) / (n + r)


def mean_graph() -> dict[str, Any]:
    """Return the mean NDVI of all dates, saved."""
    process = graph(save=True)
    nodes = process["process_graph"]
    nodes["mean"] = {
        "process_id": "reduce_dimension",
        "arguments": {
            "data": {"from_node": "ndvi"},
            "dimension": "t",
            "reducer": {
                "process_graph": {
                    "mean": {
                        "process_id": "mean",
                        "arguments": {"data": {"from_parameter": "data"}},
                        "result": True,
                    }
                }
            },
        },
    }
    nodes["save"]["arguments"]["data"] = {"from_node": "mean"}
    return process


def assert_is_mean(path: Path) -> None:
    with rasterio.open(path) as file:
        values = file.read(1, masked=True).filled(np.nan)
    expected = np.mean([ndvi(date) for date in DATES], axis=0)
    np.testing.assert_allclose(values, expected, atol=1e-6)


def test_nothing_of_the_catalogue_is_in_a_file(home: Path) -> None:
    assert not (home / "catalog.sqlite").exists()


def test_items_are_found_by_pystac_client(program: Program) -> None:
    api = pystac_client.Client.open(program.url)

    found = api.search(collections=[COLLECTION], datetime="2018-05-15/2019-12-31")

    assert sorted(item.datetime.strftime("%Y-%m-%d") for item in found.items()) == [*DATES[1:]]
    (collection,) = api.get_collections()
    assert collection.id == COLLECTION


def test_a_result_has_the_pixels_of_the_files(program: Program, tmp_path: Path) -> None:
    answer, content = post(program, "/result", {"process": mean_graph()})

    assert answer.status == 200, content
    path = tmp_path / "mean.tif"
    path.write_bytes(content)
    assert_is_mean(path)


def test_a_job_process_reads_the_same_catalogue(program: Program, tmp_path: Path) -> None:
    answer, content = post(program, "/jobs", {"process": mean_graph()})
    assert answer.status == 201, content
    job = answer.getheader("OpenEO-Identifier")
    post(program, f"/jobs/{job}/results", None)
    end = time.monotonic() + PATIENCE
    while (told := program.json(f"/jobs/{job}"))["status"] in {"queued", "running"}:
        assert time.monotonic() < end
        time.sleep(0.5)

    assert told["status"] == "finished", program.json(f"/jobs/{job}/logs")
    assets = program.json(f"/jobs/{job}/results")["assets"]
    (href,) = [one["href"] for one in assets.values() if one["type"].startswith("image/tiff")]
    where = urlsplit(href)
    prefix = urlsplit(program.url).path
    _, content = program.get(f"{where.path.removeprefix(prefix)}?{where.query}")
    path = tmp_path / "job.tif"
    path.write_bytes(content)
    assert_is_mean(path)


def test_a_map_is_drawn_of_a_collection(program: Program) -> None:
    body = {"type": "XYZ", "process": graph(), "configuration": {"min": 0, "max": 1}}
    answer, content = post(program, "/services", body)
    assert answer.status == 201, content
    name = answer.getheader("OpenEO-Identifier")

    url = urlsplit(program.json(f"/services/{name}")["url"])
    path = url.path.removeprefix(urlsplit(program.url).path)
    with rasterio.Env():
        # Longitude 21, latitude 45.14 is the middle of the images: tile of zoom 12.
        x, y = int((21.02 + 180) / 360 * 4096), 1475
    status, picture = program.get(
        path.replace("{z}", "12").replace("{x}", str(x)).replace("{y}", str(y)) + f"?{url.query}"
    )

    assert status == 200, picture
    assert picture.startswith(b"\x89PNG")


def test_the_password_is_on_no_command_line(program: Program) -> None:
    for pid in [program.process.pid, *program.children()]:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            continue
        assert PASSWORD not in line


def test_doctor_says_what_keeps_the_catalogue(home: Path, catalog: str) -> None:
    told = terrazzo("doctor", TERRAZZO_HOME=str(home), TERRAZZO_CATALOG=catalog).stdout

    (line,) = [line for line in told.splitlines() if "catalogue" in line]
    assert "pgSTAC 0.10" in line
    assert "1 collections" in line
    assert PASSWORD not in told
