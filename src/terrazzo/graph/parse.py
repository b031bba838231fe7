"""Reads openEO process graphs: everything that is wrong is told at once."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from terrazzo.errors import GraphInvalid
from terrazzo.graph.arguments import HOLE, TooLarge
from terrazzo.graph.build import Builder
from terrazzo.graph.declare import declared_parameters
from terrazzo.graph.digest import canonical
from terrazzo.graph.document import At, Located, Report, clean, load, locate
from terrazzo.graph.schema import mismatches
from terrazzo.graph.scope import Scope, bind
from terrazzo.graph.spec import ParameterSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.graph.model import Graph
    from terrazzo.graph.spec import ProcessSpec

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def parse(
    document: str | bytes | Mapping[str, Any],
    *,
    specs: Mapping[str, ProcessSpec],
    user_processes: Mapping[str, Mapping[str, Any]] = _NOTHING,
    parameters: Mapping[str, Any] = _NOTHING,
    allow_free_parameters: bool = False,
) -> Graph:
    """Read and check a process graph.

    Parameters are replaced by their values, calls of user-defined processes by their nodes
    (`call/inner`), and nodes that compute the same are merged into the one that the document
    has first. Time and memory are linear in the size of the graph that results.

    Args:
        document: a flat graph `{id: node}`, a process `{"process_graph": ...}`, or a job-like
            `{"process": {"process_graph": ...}}`; JSON text, or as `json.loads` gives it.
        specs: predefined processes by id.
        user_processes: user-defined processes by id, as `GET /process_graphs/{id}` has them.
        parameters: values for the parameters of the graph, plain JSON.
        allow_free_parameters: whether parameters without value and default stay in the graph
            (`graph.parameters`); for checking a process that is stored for later.

    Returns:
        The graph, immutable.

    Raises:
        GraphInvalid: with every problem found, each with openEO code, node and JSON path.
    """
    report = Report()
    graph: Graph | None = None
    try:
        raw = load(document, report)
        located = locate(raw, report) if raw is not None else None
        if raw is not None and clean(raw, At(), report) and located is not None:
            builder = Builder(report, specs, user_processes)
            scope = _outermost(located, builder, parameters, allow_free=allow_free_parameters)
            graph = builder.build(located.graph, scope)
    except TooLarge as error:
        report.add("ProcessGraphComplexity", error.message, error.at)
    if graph is None or report.problems:
        raise GraphInvalid(report.problems)
    return graph


def _outermost(
    located: Located, builder: Builder, supplied: Mapping[str, Any], *, allow_free: bool
) -> Scope:
    """Return the scope of the whole graph: its parameters with values or defaults."""
    report = builder.report
    scope = Scope(
        at=located.at,
        any_free=allow_free and located.parameters is None,
    )
    declared = declared_parameters(located.parameters, located.parameters_at, report)
    places = {spec.name: At(located.parameters_at, i) for i, spec in enumerate(declared)}
    specs = {spec.name: spec for spec in declared}
    values = {spec.name: spec.default for spec in declared if spec.optional}
    for name, default in values.items():
        place = At(places[name], "default")
        scope.bound[name] = bind(builder.literal(default, place, specs[name].schema))
    for name, value in supplied.items():
        before = len(report.problems)
        spec = specs.get(name, ParameterSpec(name, "", {}))
        if clean({name: value}, At(), report):
            frozen = builder.literal(value, At(At(), name), spec.schema)
            if name not in values or canonical(frozen) != canonical(scope.bound[name].value):
                for keys, reason in mismatches(frozen, spec.schema, trusted=False):
                    label = "".join(f"[{key!r}]" for key in keys)
                    report.add("ProcessParameterInvalid", f"{name}{label} {reason}", At())
            scope.bound[name] = bind(frozen)
        if len(report.problems) > before:
            scope.bound[name] = bind(HOLE)
        label = f"The value supplied for parameter {name!r}"
        report.relocate(before, label, places.get(name, At()))
    missing = [spec.name for spec in declared if spec.name not in scope.bound | dict(supplied)]
    if not allow_free:
        for name in missing:
            message = f"Parameter {name!r} has no value. Supply one, or declare a default."
            report.add("ProcessParameterRequired", message, places[name])
    # Kept as free after the problem was told, so that it is told once and not at every use.
    return Scope(at=scope.at, bound=scope.bound, free=frozenset(missing), any_free=scope.any_free)
