"""Writes docs/processes.md from the registry: `python -m scripts.process_reference`.

The example of every process is run, and its result is printed as it came.
"""

from __future__ import annotations

import json
import math
from itertools import product
from typing import TYPE_CHECKING, Any

import shapely

from scripts.pages import note, write
from scripts.process_examples import DATA, FAMILIES, Example
from scripts.tiny import TinyOpener
from terrazzo.cube import Cube, Kind, Pixels, Stack
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.graph import parse
from terrazzo.processes import PROCESSES, SPECS, Process
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.graph import ParameterSpec

LOAD = {
    "process_id": "load_collection",
    "arguments": {"id": "tiny", "spatial_extent": None, "temporal_extent": None},
}
WIDEST = 100


def page() -> str:
    """Return the whole page."""
    parts = [_introduction()]
    for family, examples in FAMILIES.items():
        links = [f"[`{name}`](#{name})" for name in examples]
        parts.append(f"**{family}**: {', '.join(links)}")
    for family, examples in FAMILIES.items():
        parts.append(f"## {family}")
        parts += [_entry(PROCESSES[name], example) for name, example in examples.items()]
    return "\n\n".join(parts) + "\n"


def _introduction() -> str:
    return f"""{note("process_reference")}

# Processes

{len(SPECS)} openEO processes, with openEO's names, parameters and defaults. [Graphs](graphs.md)
says how to put them together, [writing a process](writing-a-process.md) how to add one, and
[no-data](no-data.md) what null and NaN mean. What a process *raises* is explained in
[errors](errors.md).

The examples of this page were run when it was written. `cube` stands for this one; a `-` is a
pixel without data:

```text
{_shown(_result("cube", {"cube": LOAD}))}
```"""


def _entry(process: Process, example: Example) -> str:
    """Return the section of one process."""
    spec = process.spec
    lines = [f"### {process.id}", "", _plain(spec.description), ""]
    if spec.experimental:
        lines += ["*May change without notice.*", ""]
    if spec.parameters:
        lines += ["| parameter | type | default | |", "|---|---|---|---|"]
        lines += [_row(parameter) for parameter in spec.parameters]
        lines.append("")
    returned = str(spec.returns["description"])
    lines += [f"*Returns* {_lower_type(spec.returns['schema'])}: {returned}", ""]
    for name, error in spec.exceptions.items():
        lines.append(f"- *Raises* `{name}`: {error['message']}")
    if spec.exceptions:
        lines.append("")
    lines += ["```json", *_call(example), "```"]
    lines += ["", "```text", _shown(_run(process.id, example)), "```"]
    if example.note:
        lines += ["", example.note]
    return "\n".join(lines)


def _plain(description: str) -> str:
    return description.strip()


def _row(parameter: ParameterSpec) -> str:
    default = f"`{json.dumps(_listed(parameter.default))}`" if parameter.optional else "required"
    told = parameter.description.replace("|", "\\|")
    return f"| `{parameter.name}` | {type_words(parameter.schema)} | {default} | {told} |"


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def type_words(schema: Any) -> str:
    """Return what a JSON schema of openEO asks for, in a few words."""
    options = schema if isinstance(schema, list) else schema.get("anyOf", [schema])
    return " or ".join(dict.fromkeys(_one_type(option) for option in options))


def _one_type(schema: Mapping[str, Any]) -> str:
    subtype = schema.get("subtype")
    if subtype == "datacube":
        kinds = [d["type"] for d in schema.get("dimensions", ())]
        named = {"spatial": "raster cube", "geometry": "vector cube"}
        return next((named[kind] for kind in kinds if kind in named), "cube")
    if subtype == "process-graph":
        names = [entry["name"] for entry in schema.get("parameters", ())]
        return f"callback ({', '.join(names)})"
    if "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    return str(subtype) if subtype else _plain_type(schema)


def _plain_type(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", "anything")
    if kinds == "array":
        inner = type_words(schema.get("items") or {})
        return "array" if inner == "anything" else f"array of {inner}"
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _lower_type(schema: Any) -> str:
    return f"({type_words(schema)})"


def _call(example: Example) -> Iterator[str]:
    """Yield the arguments, and before them the nodes that they name."""
    for name, node in example.before.items():
        yield f"{json.dumps(name)}: {json.dumps(node)}"
        yield ""
    yield json.dumps(example.arguments)


def _run(name: str, example: Example) -> Any:
    nodes = {key: dict(node) for key, node in example.before.items()}
    nodes["example"] = {"process_id": name, "arguments": dict(example.arguments)}
    if json.dumps(DATA) in json.dumps(nodes):
        nodes["cube"] = LOAD
    return _result("example", nodes)


def _result(wanted: str, nodes: Mapping[str, Any]) -> Any:
    """Run a graph over the tiny collection."""
    document = {
        key: {**node, "result": True} if key == wanted else node for key, node in nodes.items()
    }
    graph = parse({"process_graph": document}, specs=SPECS)
    inference = infer(graph, TinyOpener())
    means = Means(256, Pool("threads", 1), Progress())
    inference, _ = settled(Job.of(document), inference, [graph.result], means)
    bound = inference.cube(graph.result)
    if bound.grid is not None:
        plan = make_plan(inference)
        return evaluate(plan, plan.window)
    return bound.result


def _shown(result: Any) -> str:
    if isinstance(result, Cube):
        return "\n".join(_cube_lines(result))
    if isinstance(result, Stack):
        return "[" + ", ".join(_value(entry) for entry in result) + "]"
    return _value(result)


def _cube_lines(cube: Cube) -> Iterator[str]:
    """Yield the dimensions, then one line per label with its rows of pixels."""
    sizes = [
        f"{d.name}={size}"
        if d.kind is Kind.SPATIAL
        else f"{d.name}={','.join(map(_label, d.labels))}"
        for d, size in zip(cube.dimensions, cube.values.shape, strict=True)
    ]
    yield f"({'; '.join(sizes)})  {cube.dtype}" + (
        f"  pixel {cube.grid.pixel_x:g} m" if cube.grid else ""
    )
    if cube.geometries is not None:
        labels = cube.only(Kind.GEOMETRY).labels
        for label, shape in zip(labels, cube.geometries.shapes, strict=True):
            yield f"{_label(label)}: {shapely.to_wkt(shape, rounding_precision=4)}"
        if cube.geometries.bare:
            return
    inner = 2 if cube.grid is not None else 1 if len(cube.dimensions) > 1 else 0
    outer = cube.dimensions[: len(cube.dimensions) - inner]
    for places in product(*(range(len(d.labels)) for d in outer)):
        names = [_label(d.labels[i]) for d, i in zip(outer, places, strict=True)]
        values, valid = cube.values[places], cube.valid[places]
        if inner == 2:  # noqa: PLR2004 - rows and columns
            rows = [_cells(*row) for row in zip(values, valid, strict=True)]
        else:
            rows = [_cells(values.reshape(-1), valid.reshape(-1))]
        yield "  ".join([*names, *rows]).strip()


def _label(label: Any) -> str:
    return str(label).removesuffix("T10:00:00Z").removesuffix("T00:00:00Z")


def _cells(values: Any, valid: Any) -> str:
    cells = [_number(v) if ok else "-" for v, ok in zip(values.tolist(), valid, strict=True)]
    return "[" + " ".join(f"{cell:>3}" for cell in cells) + "]"


def _value(value: Any) -> str:
    if isinstance(value, Pixels):
        return _number(value.values.item()) if value.valid.item() else "null"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return f"{value:.6g}"


if __name__ == "__main__":
    write("processes.md", page())
