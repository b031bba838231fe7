"""Builds a graph from its JSON: user-defined processes put in place, equal nodes merged."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from terrazzo.graph.arguments import HOLE, Draft, Reader, TooLarge
from terrazzo.graph.declare import define
from terrazzo.graph.digest import canonical, node_digest
from terrazzo.graph.document import At, show
from terrazzo.graph.model import FrozenMap, Graph, Node, Value, rename_refs
from terrazzo.graph.order import topological
from terrazzo.graph.schema import mismatches
from terrazzo.graph.scope import Bound, Scope, bind

if TYPE_CHECKING:
    from terrazzo.graph.declare import Definition
    from terrazzo.graph.document import Report
    from terrazzo.graph.spec import ParameterSpec, ProcessSpec

SIDE_EFFECTS = frozenset({"save_result", "inspect"})
"""Processes of which two equal calls are two calls."""

MAX_NODES = 100_000
"""Nodes in a graph and its callbacks, user-defined processes put in place."""
_MOST_NESTED_PROCESSES = 50
_NAMED_IN_CYCLE = 100
_BACKEND, _USER = "backend", "user"


class Builder(Reader):
    """One run of the parser. Collects problems; what it returns counts only if there are none."""

    def __init__(
        self,
        report: Report,
        specs: Mapping[str, ProcessSpec],
        user_processes: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__(report)
        self._specs = specs
        self._user_processes = user_processes
        self._nodes = 0
        self._defaults: dict[str, dict[str, str]] = {}
        self._sound: dict[str, Definition] = {}  # checked once, however often they are called

    @override
    def build(self, raw: Mapping[str, Any], scope: Scope) -> Graph | None:
        """Build the graph in a scope; None where there are problems.

        Args:
            raw: nodes by id, checked by `clean`.
            scope: what it can refer to.
        """
        before = len(self.report.problems)
        drafts: dict[str, Draft] = {}
        result: str | None = None
        waiting: deque[tuple[Mapping[str, Any], Scope, Draft | None]] = deque([(raw, scope, None)])
        while waiting:
            graph, inner, call = waiting.popleft()
            found = self._read_graph(graph, inner, drafts, waiting)
            if call is None:
                result = found
            else:
                call.alias = found
        needs = {
            name: [target for target, _ in draft.refs] + ([draft.alias] if draft.alias else [])
            for name, draft in drafts.items()
        }
        order, cycles = topological(needs)
        for cycle in cycles:
            self._report_cycle(cycle, drafts)
        if len(self.report.problems) > before or result is None:
            return None
        return self._merge(order, drafts, result)

    def _read_graph(
        self,
        raw: Mapping[Any, Any],
        scope: Scope,
        drafts: dict[str, Draft],
        waiting: deque[tuple[Mapping[str, Any], Scope, Draft | None]],
    ) -> str | None:
        """Read all nodes of one graph; return the id of its result node."""
        raw = {name: entry for name, entry in raw.items() if isinstance(name, str)}
        self._nodes += len(raw)
        if self._nodes > MAX_NODES:
            message = (
                f"The graph has more than {MAX_NODES} nodes, user-defined processes put in "
                "place. Split it into several jobs."
            )
            raise TooLarge(message, scope.at)
        for name in raw:
            unique = base = scope.prefix + name
            number = 2
            while unique in drafts:
                unique, number = f"{base}_{number}", number + 1
            scope.names[name] = unique
            drafts[unique] = Draft(unique, At(scope.at, name), scope)
        for name, entry in raw.items():
            draft = drafts[scope.names[name]]
            definition = self._read_node(draft, entry)
            if definition is not None:
                inner = self._call(draft, definition)
                waiting.append((definition.graph, inner, draft))
        return self._result_of(raw, scope)

    def _result_of(self, raw: Mapping[str, Any], scope: Scope) -> str | None:
        """Find the one node that is the result."""
        chosen: list[str] = []
        for name, entry in raw.items():
            flag = entry.get("result") if isinstance(entry, Mapping) else None
            if flag is True:
                chosen.append(name)
            elif flag is not None and flag is not False:
                message = f"`result` is true or false, not {show(flag)}."
                place = At(At(scope.at, name), "result")
                self.report.add("ProcessGraphInvalid", message, place, scope.names[name])
        if not chosen and len(raw) == 1:
            chosen = list(raw)
        if len(chosen) == 1:
            return scope.names[chosen[0]]
        if chosen:
            message = (
                f"{len(chosen)} nodes are marked as the result: "
                f"{', '.join(map(repr, chosen[:20]))}. Keep `result: true` on one of them."
            )
        else:
            names = ", ".join(map(repr, list(raw)[:20])) or "none: add one"
            message = f"No node is the result. Set `result: true` on one. Nodes here: {names}."
        self.report.add("ProcessGraphInvalid", message, scope.at, scope.node)
        return None

    def _read_node(self, draft: Draft, entry: object) -> Definition | None:
        """Read one node; return the definition if it calls a user-defined process."""
        report, at, node = self.report, draft.at, draft.id
        if not isinstance(entry, Mapping):
            message = f"A node is an object with process_id and arguments, not {show(entry)}."
            report.add("ProcessGraphInvalid", message, at, node)
            return None
        spec = definition = None
        process = entry.get("process_id")
        if isinstance(process, str):
            draft.process_id = process
            spec, definition = self._resolve(process, entry.get("namespace"), draft)
        else:
            found = f"not {show(process)}" if "process_id" in entry else "and it is missing"
            message = f"A node needs the name of its process as `process_id`, {found}."
            place = At(at, "process_id") if "process_id" in entry else at
            report.add("ProcessGraphInvalid", message, place, node)
        arguments = entry.get("arguments")
        if not isinstance(arguments, Mapping):
            found = f"not {show(arguments)}" if "arguments" in entry else "and they are missing"
            message = f"A node needs an object of `arguments`, {found}. It may be empty: {{}}."
            place = At(at, "arguments") if "arguments" in entry else at
            report.add("ProcessGraphInvalid", message, place, node)
            return None
        place = At(at, "arguments")
        if spec is not None:
            draft.arguments = self._arguments(draft, arguments, spec.by_name, place)
        elif definition is not None:
            known = {parameter.name: parameter for parameter in definition.parameters}
            draft.arguments = self._arguments(draft, arguments, known, place, trusted=False)
        else:
            self._arguments(draft, arguments, None, place)
        return definition

    def _arguments(
        self,
        draft: Draft,
        raw: Mapping[Any, Any],
        known: Mapping[str, ParameterSpec] | None,
        at: At,
        *,
        trusted: bool = True,
    ) -> FrozenMap:
        """Read and check the arguments of a node; all are accepted if nothing is known of it."""
        report, process = self.report, draft.process_id
        arguments: dict[str, Value] = {}
        for name, value in raw.items():
            if not isinstance(name, str):
                continue
            place = At(at, name)
            parameter = known.get(name) if known is not None else None
            if parameter is None and known is not None:
                message = (
                    f"Process {process!r} has no parameter {name!r}."
                    f"{report.near(name, tuple(known))} It has: {', '.join(known) or 'none'}."
                )
                report.add("ProcessParameterUnsupported", message, place, draft.id)
            schema = parameter.schema if parameter is not None else {}
            frozen = arguments[name] = self.read(value, place, draft, schema)
            if parameter is not None:
                self._check(frozen, value, parameter, place, draft, trusted=trusted)
        for name, parameter in (known or {}).items():
            if not parameter.optional and name not in raw:
                message = f"Process {process!r} needs the argument {name!r}."
                report.add("ProcessParameterRequired", message, At(at, name), draft.id)
        return FrozenMap(arguments)

    def _check(
        self,
        value: Value,
        raw: object,
        parameter: ParameterSpec,
        at: At,
        draft: Draft,
        *,
        trusted: bool,
    ) -> None:
        """Check an argument against the schema of its parameter."""
        found = mismatches(value, parameter.accepted, trusted=trusted)
        if found and parameter.optional and canonical(value) == _default(parameter):
            return
        for keys, reason in found:
            place, inside = at, raw
            for key in keys:
                if isinstance(inside, Mapping) and "from_parameter" in inside:
                    break
                inside = inside[key]  # type: ignore[index]
                place = At(place, key)
            label = "".join(f"[{key!r}]" for key in keys)
            message = f"Argument {parameter.name}{label} of process {draft.process_id!r} {reason}"
            self.report.add("ProcessParameterInvalid", message, place, draft.id)

    def _resolve(
        self, process: str, namespace: object, draft: Draft
    ) -> tuple[ProcessSpec | None, Definition | None]:
        """Find the process of a node: predefined ones first, then those of the user."""
        report, at = self.report, draft.at
        if namespace is not None and namespace not in (_BACKEND, _USER):
            message = f"Namespace {show(namespace)} is not available; there are backend and user."
            code = "ProcessUnsupported" if isinstance(namespace, str) else "ProcessGraphInvalid"
            report.add(code, message, At(at, "namespace"), draft.id)
            return None, None
        if namespace != _USER and process in self._specs:
            return self._specs[process], None
        if namespace == _BACKEND or process not in self._user_processes:
            names = [] if namespace == _USER else list(self._specs)
            names += [] if namespace == _BACKEND else list(self._user_processes)
            message = (
                f"There is no process {process!r}"
                + (f" in namespace {namespace!r}." if namespace else ".")
                + report.near(process, names)
                + f" The process reference describes the {len(names)} that there are."
            )
            report.add("ProcessUnsupported", message, At(at, "process_id"), draft.id)
            return None, None
        stack = draft.scope.stack
        if process in stack:
            cycle = " -> ".join([*stack[stack.index(process) :], process])
            message = f"User-defined processes call each other in a cycle: {cycle}. Break it."
            report.add("ProcessGraphInvalid", message, At(at, "process_id"), draft.id)
            return None, None
        if len(stack) >= _MOST_NESTED_PROCESSES:
            message = (
                f"User-defined processes call each other more than {_MOST_NESTED_PROCESSES} "
                "levels deep."
            )
            raise TooLarge(message, at)
        call = At(at, "process_id")
        if process in self._sound:
            return None, self._sound[process]._replace(at=At(via=(process, call)))
        before = len(report.problems)
        definition = define(process, self._user_processes[process], call, draft.id, report)
        if definition is not None and len(report.problems) == before:
            self._sound[process] = definition
        return None, definition

    def _call(self, draft: Draft, definition: Definition) -> Scope:
        """Return the scope in which a user-defined process runs for one call of it."""
        stack = (*draft.scope.stack, draft.process_id)
        depth = draft.scope.depth
        bound: dict[str, Bound] = {}
        for index, parameter in enumerate(definition.parameters):
            if parameter.name in draft.arguments:
                value = draft.arguments[parameter.name]
            elif parameter.optional:
                place = At(At(At(definition.at, "parameters"), index), "default")
                value = self.literal(
                    parameter.default, place, parameter.schema, stack=stack, depth=depth
                )
            else:
                value = HOLE
            bound[parameter.name] = bind(value)
        return Scope(
            at=At(definition.at, "process_graph"),
            node=draft.id,
            prefix=f"{draft.id}/",
            bound=bound,
            stack=stack,
            depth=depth,
            outer=draft.scope.outer,
        )

    def _report_cycle(self, cycle: tuple[str, ...], drafts: Mapping[str, Draft]) -> None:
        """Report a cycle at the reference with which its first node begins it."""
        first, second = cycle[0], cycle[1 % len(cycle)]
        draft = drafts[first]
        place = next((at for target, at in draft.refs if target == second), draft.at)
        names = list(cycle)
        if len(names) > _NAMED_IN_CYCLE:
            rest = len(names) - _NAMED_IN_CYCLE
            names = [*names[: _NAMED_IN_CYCLE - 1], f"... ({rest} more)", names[-1]]
        message = (
            f"{len(cycle)} node{'s' if len(cycle) > 1 else ''} depend on each other in a cycle, "
            f"each needing the next: {' -> '.join([*names, first])}. Break it at one from_node."
        )
        self.report.add("ProcessGraphInvalid", message, place, first)

    def _merge(self, order: tuple[str, ...], drafts: dict[str, Draft], result: str) -> Graph:
        """Give each node its digest, keep one of equal nodes, and make the graph."""
        position = {name: index for index, name in enumerate(drafts)}
        digests: dict[str, str] = {}
        group: dict[str, int] = {}
        groups: dict[object, list[str]] = {}
        for name in order:
            draft = drafts[name]
            if draft.alias is not None:
                digests[name], group[name] = digests[draft.alias], group[draft.alias]
                continue
            digests[name], used = self._digest(draft, digests)
            # Calls with side effects stay apart, and so does what uses different ones of them.
            key = (digests[name], *(group[ref] for ref in used))
            same = groups.setdefault(name if draft.process_id in SIDE_EFFECTS else key, [])
            if not same:
                group[name] = len(groups) - 1
            else:
                group[name] = group[same[0]]
            same.append(name)
        kept = [min(names, key=position.__getitem__) for names in groups.values()]
        renamed = {name: kept[index] for name, index in group.items()}
        nodes: list[Node] = []
        unused = dict.fromkeys(kept)
        for name in kept:
            arguments = rename_refs(drafts[name].arguments, renamed)
            if isinstance(arguments, FrozenMap):
                node = Node(name, drafts[name].process_id, None, arguments, digests[name])
                nodes.append(node)
                for ref in node.refs:
                    unused.pop(ref, None)
        return Graph(tuple(nodes), renamed[result], tuple(unused))

    def _digest(self, draft: Draft, digests: Mapping[str, str]) -> tuple[str, list[str]]:
        """Return the digest of a node, and the nodes it uses in a fixed order."""
        process, used = draft.process_id, list[str]()
        if process not in self._defaults:
            self._defaults[process] = {
                parameter.name: _default(parameter)
                for parameter in self._specs[process].parameters
                if parameter.optional
            }

        def digest_of(node: str) -> str:
            used.append(node)
            return digests[node]

        defaults = self._defaults[process]
        return node_digest(process, draft.arguments, defaults=defaults, name=digest_of), used


def _default(parameter: ParameterSpec) -> str:
    """Return the default of an optional parameter as canonical text."""
    return canonical(_frozen(parameter.default))


def _frozen(value: object) -> Value:
    """Freeze a default from a specification of ours; it is plain JSON."""
    if isinstance(value, Mapping):
        return FrozenMap({key: _frozen(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_frozen(inner) for inner in value)
    return value  # type: ignore[return-value]
