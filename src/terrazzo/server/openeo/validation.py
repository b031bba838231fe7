"""Route that validates a process, and how everything that is wrong with one is found."""

import uuid
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from terrazzo.drivers.batch import output_nodes
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.results import check_files, output_format
from terrazzo.engine import Inference, infer, mistakes
from terrazzo.engine.bound import Pending
from terrazzo.errors import GraphInvalid, PlanTooLarge, Problem, TerrazzoError
from terrazzo.graph import Graph, parse
from terrazzo.graph.document import At
from terrazzo.ledger import Principal
from terrazzo.ledger.processes import processes_of
from terrazzo.processes import SPECS
from terrazzo.server.limits import all_nodes, check_graph
from terrazzo.server.parts import Parts, parts
from terrazzo.server.people.principal import principal
from terrazzo.server.web.payload import read_object
from terrazzo.server.web.waiting import Waiting

router = APIRouter()

LARGEST_OF_STRANGERS = 1_000_000
"""Bytes of a graph that comes without a log-in; twenty times as many take half a minute."""
validations = Waiting(4)
"""Large graphs take long: other routes keep their threads."""
MOST_TOLD = 1000
"""Problems that are told of one graph."""


@router.post("/validation")
async def validation(
    request: Request,
    who: Annotated[Principal, Depends(principal)],
    shared: Annotated[Parts, Depends(parts)],
) -> dict[str, Any]:
    """Tell everything that is wrong with a process; an empty list says that it can be run."""
    limits = shared.settings.limits
    largest = limits.body_bytes if who.known else min(LARGEST_OF_STRANGERS, limits.body_bytes)
    document = await read_object(request, largest, nodes=limits.nodes)
    found = await validations.run(lambda: list(problems(document, who, shared)))
    return {"errors": [_told(problem) for problem in found[:MOST_TOLD]]}


def problems(document: dict[str, Any], who: Principal, shared: Parts) -> Iterator[Problem]:
    """Yield what is wrong with a process that somebody may want to run here.

    First come mistakes of the graph itself. If there are none, and all of its parameters have
    values, its collections are looked up and every node is asked what it would give; with code
    of users only for those who are logged in.
    """
    limits = shared.settings.limits
    try:
        graph = parse(
            document,
            specs=SPECS,
            user_processes=processes_of(shared.database, who, document),
            allow_free_parameters=True,
        )
        check_graph(graph, limits)
    except GraphInvalid as error:
        yield from error.problems
        return
    except TerrazzoError as error:
        yield Problem(error.code, str(error), "", "$")
        return
    # Whether code of a user fails is found out by running it: not for everybody who passes by.
    runs_code = any(node.process_id == "run_udf" for node in all_nodes(graph))
    if not graph.parameters and (who.known or not runs_code):
        for name, mistake in _mistakes(graph, shared.workspace_of(who), limits.images):
            yield _problem(document, name, mistake)


def _mistakes(
    graph: Graph, workspace: Workspace, most_images: int
) -> Iterator[tuple[str, TerrazzoError]]:
    opener = workspace.opener(most_images=most_images)
    found = mistakes(graph, opener)
    # What loads more images than can be looked at now is a job, and no mistake.
    yield from ((node, error) for node, error in found if not isinstance(error, PlanTooLarge))
    if not found:
        yield from _unwritable(infer(graph, opener))


def _unwritable(inference: Inference) -> Iterator[tuple[str, TerrazzoError]]:
    """Yield results that no file of the format asked for can hold."""
    for node in output_nodes(inference):
        if inference.cube(node).result is Pending.PENDING:
            continue
        try:
            output_format(inference, node)
            check_files(inference, (node,))
        except TerrazzoError as error:
            yield node, error


def _problem(document: dict[str, Any], node: str, error: TerrazzoError) -> Problem:
    """Return a problem with its place: the node, or the call inside of which the node is."""
    at, nodes = At(), document
    for key in ("process", "process_graph"):
        if isinstance(nodes.get(key), dict) and "process_id" not in nodes[key]:
            at, nodes = At(at, key), nodes[key]
    while node not in nodes and "/" in node:
        node = node.rpartition("/")[0]
    return Problem(error.code, str(error), node, str(At(at, node)))


def _told(problem: Problem) -> dict[str, Any]:
    """Return a problem as an openEO error object that also says where it is."""
    where = {"node": problem.node} if problem.node else {}
    return {
        "id": uuid.uuid4().hex,
        "code": problem.code,
        "message": problem.message,
        "path": problem.path,
        **where,
    }
