"""Jobs that really run, over HTTP: results, links, logs, cancelling; with the official client."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import openeo
import pystac
import pytest
import rasterio
import requests
from tests.server.graphs import load, node, ref
from tests.server.openapi import checked
from tests.server.small import COLLECTION, DATES, EDGE, graph, make_home, nir, red

from terrazzo.drivers.described import DOCUMENT
from terrazzo.errors import AssetForbidden
from terrazzo.ledger import Database, Principal, Signer, database_url
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs
from terrazzo.ledger.own import OwnResults, signed_text
from terrazzo.server.running.listen import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

SOON = 120.0
"""Seconds that a small job may take on a busy machine."""
SLOW = """
import time
from openeo.udf import XarrayDataCube

def apply_datacube(cube, context):
    time.sleep(600)
    return cube
"""
TALKING = """
from openeo.udf import inspect

def apply_datacube(cube, context):
    inspect(data=[1, 2], message="seen in the code", code="Seen", level="warning")
    return cube
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> Iterator[str]:
    with serving(workspace) as url:
        yield url


@pytest.fixture(scope="module")
def session(shared: Path) -> Iterator[requests.Session]:
    """A session all of whose answers are held against the text of the API."""
    assert shared
    with requests.Session() as session:
        session.trust_env = False
        yield checked(session)


@pytest.fixture
def connection(url: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> openeo.Connection:
    assert shared
    monkeypatch.setenv("NO_PROXY", "*")
    connection = openeo.connect(url)
    checked(connection.session)
    return connection


def begun(session: requests.Session, url: str, process: dict[str, Any], **more: Any) -> str:
    """Make and start a job; return its address."""
    made = session.post(f"{url}/jobs", json={"process": process, **more})
    here: str = made.headers["Location"]
    assert session.post(f"{here}/results").status_code == 202
    return here


def waited(session: requests.Session, here: str, *statuses: str) -> dict[str, Any]:
    """Return a job when it has one of the statuses."""
    end = time.monotonic() + SOON
    while True:
        told: dict[str, Any] = session.get(here).json()
        if told["status"] in statuses:
            return told
        assert told["status"] in {"queued", "running"}, session.get(f"{here}/logs").text
        assert time.monotonic() < end, told
        time.sleep(0.1)


@pytest.fixture(scope="module")
def finished(session: requests.Session, url: str) -> str:
    """Address of a job that has made an image for each date."""
    here = begun(session, url, graph(save=True), title="NDVI")
    waited(session, here, "finished")
    return here


def expected(date: str) -> np.ndarray:
    low, high = (band(int(date[:4])).astype(np.float32) for band in (red, nir))
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(low > 0, (high - low) / (high + low), np.nan)
    return found


def udf(code: str) -> dict[str, Any]:
    """Return a graph that runs code over the whole collection."""
    run = node("run_udf", data={"from_parameter": "data"}, udf=code, runtime="Python", result=True)
    return {
        "process_graph": {
            "load": load(),
            "apply": node(
                "apply_neighborhood",
                data=ref("load"),
                process={"process_graph": {"run": run}},
                size=[{"dimension": d, "value": 512, "unit": "px"} for d in "xy"],
                result=True,
            ),
        }
    }


def test_the_official_client_waits_and_downloads(connection: openeo.Connection, tmp_path: Path):
    cube = connection.load_collection(COLLECTION, bands=["red", "nir"])
    low, high = cube.band("red"), cube.band("nir")
    job = ((high - low) / (high + low)).save_result("GTiff").create_job(title="NDVI")

    job.start_and_wait(print=lambda _: None, max_poll_interval=0.5)
    files = sorted(
        path for path in job.get_results().download_files(tmp_path) if path.suffix == ".tif"
    )

    assert job.status() == "finished"
    assert len(files) == len(DATES)
    for path, date in zip(files, DATES, strict=True):
        with rasterio.open(path) as file:
            np.testing.assert_allclose(file.read(1), expected(date), rtol=1e-6)
    assert [entry["code"] for entry in job.logs()] == ["JobQueued", "JobStarted", "JobFinished"]


def test_results_are_a_catalogue_that_others_open(session: requests.Session, finished: str):
    told = session.get(f"{finished}/results").json()
    canonical = next(link["href"] for link in told["links"] if link["rel"] == "canonical")

    collection = pystac.Collection.from_dict(requests.get(canonical, timeout=SOON).json())
    links = [link.absolute_href for link in collection.get_links("item")]
    items = [pystac.Item.from_dict(requests.get(link, timeout=SOON).json()) for link in links]

    assert [f"{item.datetime:%Y-%m-%d}" for item in items] == list(DATES)
    assert {key for item in items for key in item.assets} == set(told["assets"])
    for item in items:
        (asset,) = item.assets.values()
        content = requests.get(asset.href, timeout=SOON).content
        assert asset.extra_fields["file:size"] == len(content)
        assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset.extra_fields["proj:code"] == "EPSG:32634"
        assert asset.extra_fields["proj:shape"] == [EDGE, EDGE]
        assert item.properties["processing:expression"]["expression"] == graph(save=True)
        assert len(item.properties["terrazzo:sources"]["load"]) == len(DATES)


def test_results_are_one_item_for_who_asks_for_geojson(session: requests.Session, finished: str):
    asked = {"Accept": "application/geo+json"}

    told = session.get(f"{finished}/results", headers=asked).json()

    item = pystac.Item.from_dict(told)
    assert len(item.assets) == len(DATES)
    assert item.properties["start_datetime"].startswith(DATES[0])
    assert item.properties["end_datetime"].startswith(DATES[-1])


def test_a_file_is_read_in_ranges_and_not_sent_twice(session: requests.Session, finished: str):
    name, asset = next(iter(session.get(f"{finished}/results").json()["assets"].items()))

    whole = requests.get(asset["href"], timeout=SOON)
    part = requests.get(asset["href"], headers={"Range": "bytes=10-19"}, timeout=SOON)
    etag = {"If-None-Match": whole.headers["ETag"]}
    again = requests.get(asset["href"], headers=etag, timeout=SOON)
    seen = requests.head(asset["href"], timeout=SOON)
    owned = requests.get(f"{finished}/results/{name}", timeout=SOON)

    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert (again.status_code, again.content) == (304, b"")
    assert (seen.status_code, int(seen.headers["Content-Length"])) == (200, len(whole.content))
    assert owned.content == whole.content
    shown = subprocess.run(
        ["gdalinfo", f"/vsicurl/{asset['href']}"], capture_output=True, text=True, check=True
    )
    assert f"Size is {EDGE}, {EDGE}" in shown.stdout


def test_a_link_opens_what_was_signed_and_nothing_else(session: requests.Session, finished: str):
    first, second, *_ = session.get(f"{finished}/results").json()["assets"].items()

    for forged in (
        first[1]["href"].replace(first[0], second[0]),
        first[1]["href"].replace(first[0], "run.json"),
        first[1]["href"].replace("/1/", "/2/"),
        first[1]["href"].replace("/results/", "/results/f"),
    ):
        assert requests.get(forged, timeout=SOON).status_code == 404


def test_an_expired_link_says_so(session: requests.Session, finished: str, workspace: Workspace):
    name, asset = next(iter(session.get(f"{finished}/results").json()["assets"].items()))
    job, run = finished.rpartition("/")[2], 1
    signature = Signer.of(workspace.home).sign(signed_text(job, run, name), 1)
    root = asset["href"].partition("/results/")[0]

    answer = requests.get(f"{root}/results/{signature}/{job}/{run}/{name}", timeout=SOON)

    assert (answer.status_code, answer.json()["code"]) == (410, "ResultLinkExpired")


def test_a_job_loads_what_another_one_made(
    connection: openeo.Connection, finished: str, tmp_path: Path
):
    made = connection.job(finished.rpartition("/")[2]).get_results().get_metadata()
    canonical = next(link["href"] for link in made["links"] if link["rel"] == "canonical")

    cube = connection.load_stac(canonical, temporal_extent=["2019-01-01", "2020-01-01"])
    cube.save_result("GTiff").download(tmp_path / "direct.tif")
    job = cube.save_result("GTiff").create_job()
    job.start_and_wait(print=lambda _: None, max_poll_interval=0.5)
    job.get_results().download_file(tmp_path / "job.tif")

    for name in ("direct.tif", "job.tif"):
        with rasterio.open(tmp_path / name) as file:
            np.testing.assert_allclose(file.read(1), expected("2019"), rtol=1e-6)


def test_an_expired_link_is_loaded_by_the_owner_only(
    session: requests.Session, finished: str, workspace: Workspace
):
    assert session.get(f"{finished}/results").status_code == 200
    job, signer = finished.rpartition("/")[2], Signer.of(workspace.home)
    folders = JobFolders(workspace.home)
    past = signer.sign(signed_text(job, 1, DOCUMENT), 1)
    forged = Signer(b"x" * 32).sign(signed_text(job, 1, DOCUMENT))

    def find(signature: str, account: str) -> Any:
        own = OwnResults(folders, account, signer)
        return own.find(f"http://anything/results/{signature}/{job}/1/{DOCUMENT}")

    assert find(past, "local") is not None
    with pytest.raises(AssetForbidden, match="expired"):
        find(past, "bert")
    assert find(forged, "local") is None


def test_code_and_graphs_are_heard_while_they_run(session: requests.Session, url: str):
    process = udf(TALKING)
    looked = node("inspect", data=ref("load"), message="looked at", code="Look")
    process["process_graph"]["look"] = looked

    here = begun(session, url, process)
    told = waited(session, here, "finished")

    logs = session.get(f"{here}/logs").json()["logs"]
    codes = [entry["code"] for entry in logs]
    assert codes.count("Seen") >= 1
    assert codes.count("Look") >= 1
    assert codes[-1] == "JobFinished"
    seen = next(entry for entry in logs if entry["code"] == "Seen")
    assert (seen["level"], seen["message"], seen["data"]) == ("warning", "seen in the code", [1, 2])
    assert any(step["node_id"] == "apply" for step in seen["path"])
    usage = told["usage"]
    assert usage["cpu"]["value"] > 0
    assert usage["duration"]["value"] > 0
    assert usage["input_pixel"]["value"] > 0


def test_a_graph_that_is_wrong_fails_and_says_why(session: requests.Session, url: str):
    process = {"process_graph": {"x": node("no_such_process", result=True)}}

    here = begun(session, url, process)
    waited(session, here, "error")

    failed = session.get(f"{here}/results")
    assert failed.status_code == 424
    assert "no_such_process" in failed.json()["message"]


def test_no_path_of_the_server_is_told(session: requests.Session, url: str, workspace: Workspace):
    here = begun(session, url, udf("def apply_datacube(cube, context):\n    return 1 / 0\n"))
    waited(session, here, "error")

    told = session.get(f"{here}/logs").text + session.get(f"{here}/results").text

    assert "ZeroDivisionError" in told
    assert str(workspace.home) not in told


@pytest.mark.parametrize("how", ["stop", "delete"])
def test_cancelling_stops_the_work_inside_a_block(
    session: requests.Session, url: str, workspace: Workspace, how: str
):
    here = begun(session, url, udf(SLOW))
    waited(session, here, "running")
    folder = workspace.home / "jobs" / here.rpartition("/")[2]
    time.sleep(1.0)  # until it is in the block

    path = f"{here}/results" if how == "stop" else here
    assert session.delete(path).status_code == 204
    next_one = begun(session, url, {"process_graph": {"a": node("add", x=1, y=2, result=True)}})
    waited(session, next_one, "finished")  # there is one place for jobs, and it is free

    assert list(folder.glob("*")) == []
    if how == "stop":
        assert session.get(here).json()["status"] == "created"


def test_a_job_that_is_started_again_makes_new_results(session: requests.Session, url: str):
    here = begun(session, url, {"process_graph": {"a": node("add", x=1, y=2, result=True)}})
    waited(session, here, "finished")
    (old,) = session.get(f"{here}/results").json()["assets"].values()
    assert requests.get(old["href"], timeout=SOON).json() == 3
    changed = {"process": {"process_graph": {"a": node("add", x=2, y=2, result=True)}}}
    assert session.patch(here, json=changed).status_code == 204

    session.post(f"{here}/results")
    waited(session, here, "finished")

    (new,) = session.get(f"{here}/results").json()["assets"].values()
    assert requests.get(new["href"], timeout=SOON).json() == 4
    assert requests.get(old["href"], timeout=SOON).status_code == 404


def test_200_queued_jobs_run_once_each(session: requests.Session, url: str):
    process = {"process_graph": {"a": node("add", x=1, y=2, result=True)}}

    places = [begun(session, url, process) for _ in range(200)]

    for here in places:
        waited(session, here, "finished")
        codes = [entry["code"] for entry in session.get(f"{here}/logs").json()["logs"]]
        assert codes == ["JobQueued", "JobStarted", "JobFinished"]


def test_a_job_of_a_closed_account_does_not_run(
    session: requests.Session, url: str, workspace: Workspace
):
    database = Database(database_url(workspace.home))
    jobs, gone = Jobs(database, JobFolders(workspace.home)), Principal("gone")
    process = {"process_graph": {"a": node("add", x=1, y=2, result=True)}}
    name = jobs.create(gone, JobRequest(process=process)).id
    jobs.start(gone, name)

    told = waited(session, f"{url}/jobs/{name}", "error")

    assert json.dumps(told).count("gone") == 0
    database.close()
