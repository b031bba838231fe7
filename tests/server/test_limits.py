"""Limits: what is too large is refused before work begins, with its size and the limit."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.server.graphs import ADDED, load, node, process, ref
from tests.server.small import DATES, EDGE

from terrazzo.drivers.job import Job
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.server.app import create_app
from terrazzo.server.limits import check_graph, check_job, check_result
from terrazzo.server.settings import Limits, ServerSettings
from terrazzo.server.web.faults import TooComplex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.job import Workspace

PIXELS = EDGE * EDGE * 2 * len(DATES)
"""Of the small collection: both bands, all dates."""
PROMISED_S = 0.05
PATIENCE = 10
"""How many times longer than promised a slow machine may compute."""


@contextmanager
def asking(workspace: Workspace, **limits: int) -> Iterator[TestClient]:
    settings = ServerSettings(limits=Limits(**limits))
    with TestClient(create_app(workspace, settings), raise_server_exceptions=False) as client:
        yield client


def whole() -> dict[str, Any]:
    """Return a body that asks for all pixels of the small collection."""
    return process(load=load() | {"result": True})


def inferred(workspace: Workspace, body: dict[str, Any], **options: Any) -> tuple[Job, Any]:
    job = Job.of(body["process"], **options)
    return job, job.infer(workspace)


def test_pixels_of_a_result_are_counted_with_bands_and_dates(workspace: Workspace) -> None:
    job, inference = inferred(workspace, whole())

    assert check_result(job, inference, Limits(pixels=PIXELS)) == PIXELS
    with pytest.raises(TooComplex, match=f"{PIXELS:,}.*{PIXELS - 1:,}"):
        check_result(job, inference, Limits(pixels=PIXELS - 1))


def test_pixels_of_a_job_have_a_limit_of_their_own(workspace: Workspace) -> None:
    job, inference = inferred(workspace, whole())
    limits = Limits(pixels=1, job_pixels=PIXELS)

    assert check_job(job, inference, limits) == PIXELS
    with pytest.raises(TooComplex, match=f"{PIXELS:,}"):
        check_job(job, inference, Limits(job_pixels=PIXELS - 1))


def test_what_is_narrowed_is_counted_narrowed(workspace: Workspace) -> None:
    coarse = process(
        load=load(bands=["red"], temporal_extent=["2018-01-01", "2019-01-01"]),
        all=node("resample_spatial", data=ref("load"), resolution=100, result=True),
    )
    job, inference = inferred(workspace, coarse)

    pixels = check_result(job, inference, Limits())

    assert pixels == (EDGE // 10) ** 2 * 2


def test_enlarging_is_seen_before_it_is_done(workspace: Workspace) -> None:
    fine = process(
        load=load(), all=node("resample_spatial", data=ref("load"), resolution=0.01, result=True)
    )
    job, inference = inferred(workspace, fine)

    with pytest.raises(TooComplex, match=f"{PIXELS * 1000 * 1000:,}"):
        check_result(job, inference, Limits())


def test_bytes_that_are_read_are_those_of_the_images(workspace: Workspace) -> None:
    job, inference = inferred(workspace, whole())
    size = PIXELS * 2  # uint16

    check_result(job, inference, Limits(input_bytes=size))
    with pytest.raises(TooComplex, match=r"reads.*may read"):
        check_result(job, inference, Limits(input_bytes=size - 1))


def test_bytes_that_a_table_is_made_of_are_counted(workspace: Workspace) -> None:
    west, south, east, north = 21.0, 45.13, 21.03, 45.15
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    reducer = {"m": node("mean", data={"from_parameter": "data"}, result=True)}
    table = process(
        load=load(),
        mean=node(
            "aggregate_spatial",
            data=ref("load"),
            geometries={"type": "Polygon", "coordinates": [ring]},
            reducer={"process_graph": reducer},
            result=True,
        ),
    )
    job, inference = inferred(workspace, table)

    assert check_result(job, inference, Limits()) == 0
    with pytest.raises(TooComplex, match="reads"):
        check_result(job, inference, Limits(input_bytes=10_000))


def test_images_are_counted_where_the_graph_looks(workspace: Workspace) -> None:
    later = process(load=load(temporal_extent=["2019-01-01", "2020-01-01"]) | {"result": True})
    with asking(workspace, images=len(DATES) - 1) as client:
        refused, fine = client.post("/result", json=whole()), client.post("/result", json=later)

    assert (refused.status_code, refused.json()["code"]) == (400, "ProcessGraphComplexity")
    assert f"More than {len(DATES) - 1} images" in refused.json()["message"]
    assert fine.status_code == 200


def test_a_graph_of_many_images_is_valid_for_it_may_be_a_job(workspace: Workspace) -> None:
    with asking(workspace, images=len(DATES) - 1) as client:
        answer = client.post("/validation", json=whole())

    assert (answer.status_code, answer.json()["errors"]) == (200, [])


def test_nodes_are_counted_with_those_of_callbacks_and_user_processes() -> None:
    inner = {"n": node("pi"), "m": node("add", x=ref("n"), y=1, result=True)}
    callback = {"process_graph": {"f": node("absolute", x={"from_parameter": "x"}, result=True)}}
    graph = parse(
        {
            "a": node("mine"),
            "b": node("array_apply", data=[1, 2], process=callback),
            "c": node("add", x=ref("a"), y=1, result=True),
        },
        specs=SPECS,
        user_processes={"mine": {"process_graph": inner}},
    )

    check_graph(graph, Limits(nodes=5))
    with pytest.raises(TooComplex, match=r"5 nodes.*4"):
        check_graph(graph, Limits(nodes=4))


@pytest.mark.parametrize("path", ["/result", "/validation"])
def test_graphs_with_too_many_nodes_are_refused(workspace: Workspace, path: str) -> None:
    nodes = {f"n{place}": node("pi") for place in range(5)}
    with asking(workspace, nodes=4) as client:
        answer = client.post(path, json=process(**nodes))

        assert (answer.status_code, answer.json()["code"]) == (400, "ProcessGraphComplexity")
        assert "5 nodes" in answer.json()["message"]
        assert client.post(path, json=ADDED).status_code == 200


def test_nodes_whose_name_is_written_otherwise_are_counted(workspace: Workspace) -> None:
    nodes = {f"n{place}": node("add", x=place, y=1) for place in range(5)}
    text = json.dumps(process(**nodes)).replace('"process_id"', r'"process\u005fid"')
    content = text.replace('"n4": {', '"n4": {"result": true, ')
    with asking(workspace, nodes=4) as client:
        answer = client.post(
            "/result", content=content, headers={"content-type": "application/json"}
        )

        assert (answer.status_code, answer.json()["code"]) == (400, "ProcessGraphComplexity")


def test_bodies_that_are_too_long_are_refused(workspace: Workspace) -> None:
    with asking(workspace, body_bytes=1000) as client:
        answers = [
            client.post("/validation", json={"description": "x" * 1000}),
            client.post("/result", json={"description": "x" * 1000}),
            client.put("/process_graphs/a", json={"description": "x" * 1000}),
        ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (413, "RequestTooLarge")
        assert "1000" in answer.json()["message"].replace(",", "")


def too_large() -> dict[str, tuple[dict[str, int], dict[str, Any]]]:
    """Return, by what is too large, limits and a body that is beyond them."""
    return {
        "pixels": ({"pixels": PIXELS - 1}, whole()),
        "input": ({"input_bytes": 1000}, whole()),
        "images": ({"images": len(DATES) - 1}, whole()),
        "nodes": ({}, process(**{f"n{place}": node("pi") for place in range(20_000)})),
        "body": ({"body_bytes": 100_000}, {"process": {"description": "x" * 200_000}}),
    }


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("what", too_large())
def test_refusals_come_soon_and_before_any_pixel_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def computed(*_: Any, **__: Any) -> None:
        pytest.fail("a pixel was computed")

    monkeypatch.setattr("terrazzo.drivers.executors.work.evaluate", computed)
    monkeypatch.setattr("terrazzo.storage.source.RasterSource.read", computed)
    limits, body = too_large()[what]
    content = json.dumps(body).encode()
    seconds = []
    with asking(workspace, **limits) as client:
        for _ in range(5):
            begin = time.process_time()
            answer = client.post(
                "/result", content=content, headers={"content-type": "application/json"}
            )
            seconds.append(time.process_time() - begin)

            assert answer.status_code in {400, 413}

    assert min(seconds) < PROMISED_S * PATIENCE
