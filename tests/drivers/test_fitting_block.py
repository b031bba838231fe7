"""The largest blocks of a run that fit into the memory of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.server.graphs import load, node, process, ref
from tests.server.small import make_home

from terrazzo.drivers.batch import fitting_block
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.engine import check_memory
from terrazzo.errors import PlanTooLarge

if TYPE_CHECKING:
    from pathlib import Path

REDUCER = {"process_graph": {"m": node("median", data={"from_parameter": "data"}, result=True)}}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home: Path = tmp_path_factory.mktemp("home")
    return make_home(home)


def test_blocks_are_as_large_as_they_fit_and_no_larger(workspace: Workspace) -> None:
    body = process(load=load(), kernel=node("apply_kernel", data=ref("load"), kernel=[[1]]))
    body["process"]["process_graph"]["kernel"]["result"] = True
    job = Job.of(body["process"])
    inference = job.infer(workspace)
    pool = Pool("threads", 2, 2_000_000)

    edge = fitting_block(job, inference, pool)

    plan = job.plan(inference)
    check_memory(plan, edge, 1_000_000)
    with pytest.raises(PlanTooLarge):
        check_memory(plan, 2 * edge, 1_000_000)
    assert 1 < edge < 300


def test_blocks_are_not_larger_than_asked_for(workspace: Workspace) -> None:
    job = Job.of(process(load=load() | {"result": True})["process"])

    assert fitting_block(job, job.infer(workspace), Pool("threads", 1), 256) == 256


def test_what_stages_look_at_counts_too(workspace: Workspace) -> None:
    ring = [[21.0, 45.13], [21.03, 45.13], [21.03, 45.15], [21.0, 45.15], [21.0, 45.13]]
    table = node(
        "aggregate_spatial",
        data=ref("load"),
        geometries={"type": "Polygon", "coordinates": [ring]},
        reducer=REDUCER,
        result=True,
    )
    job = Job.of(process(load=load(), table=table)["process"])

    edge = fitting_block(job, job.infer(workspace), Pool("threads", 1, 500_000))

    assert 1 < edge < 300
