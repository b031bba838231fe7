"""Writes docs/errors.md from the error tree: `python -m scripts.error_reference`."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import terrazzo
from scripts.pages import note, write
from terrazzo.cli.group import exit_status
from terrazzo.errors import TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Iterator

GRAPH = Path(terrazzo.__file__).parent / "graph"
CODES = {
    "ProcessGraphComplexity",
    "ProcessGraphInvalid",
    "ProcessGraphMissing",
    "ProcessInvalid",
    "ProcessParameterInvalid",
    "ProcessParameterMissing",
    "ProcessParameterRequired",
    "ProcessParameterUnsupported",
    "ProcessUnsupported",
}
"""openEO's codes of such problems."""


def page() -> str:
    """Return the whole page."""
    rows = [_row(kind, depth) for kind, depth in tree()]
    codes = ", ".join(f"`{code}`" for code in problem_codes())
    return f"""{note("error_reference")}

# Errors

Whatever Terrazzo refuses or cannot do is one of these. The message has the offending value, what
would have been valid, and the way out. *code* is openEO's name of the error, *status* the HTTP
status of the server's answer, *exit* how the command line ends: 1 right input that cannot be done,
2 bad input, 3 some blocks failed. All classes are in `terrazzo.errors` unless another module is
named.

| error | code | status | exit | |
|---|---|---|---|---|
{chr(10).join(rows)}

## Problems of a graph

`GraphInvalid` carries every problem of a graph at once, in `problems`: each has a `code`, a
`message`, the `node` and the JSON `path`. Codes: {codes}. [Graphs](graphs.md) shows them.

## In Python

```python
from terrazzo.errors import BandNotFound, GraphInvalid, Problem, TerrazzoError

try:
    raise BandNotFound("B80", ["B04", "B08"])
except TerrazzoError as error:
    assert (error.code, error.status) == ("BandNotFound", 400)
    print(error)

invalid = GraphInvalid([Problem("ProcessUnsupported", "No process 'ndwi'.", "n", "$.n")])
assert invalid.problems[0].node == "n"
```

Catch `TerrazzoError` for all of them. What else is raised is a fault of Terrazzo or of the machine.
"""


def tree() -> Iterator[tuple[type[TerrazzoError], int]]:
    """Yield every error of the package with its depth, parents before children."""
    for module in pkgutil.walk_packages(terrazzo.__path__, "terrazzo."):
        if not module.name.startswith("terrazzo.testing") and module.name != "terrazzo.__main__":
            importlib.import_module(module.name)
    waiting: list[tuple[type[TerrazzoError], int]] = [(TerrazzoError, 0)]
    while waiting:
        kind, depth = waiting.pop()
        yield kind, depth
        ours = [k for k in kind.__subclasses__() if k.__module__.startswith("terrazzo.")]
        waiting += [(k, depth + 1) for k in sorted(ours, key=lambda k: k.__name__, reverse=True)]


def _row(kind: type[TerrazzoError], depth: int) -> str:
    where = "" if kind.__module__ == "terrazzo.errors" else f" (`{kind.__module__}`)"
    told = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    status = exit_status(kind.__new__(kind))
    indent = "&nbsp;&nbsp;" * depth
    return f"| {indent}`{kind.__name__}`{where} | {kind.code} | {kind.status} | {status} | {told} |"


def problem_codes() -> list[str]:
    """Return the codes that the parser of graphs gives to problems, as its sources have them."""
    found = set()
    for path in GRAPH.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and _is_code(node.value)
            ):
                found.add(node.value)
    return sorted(found)


def _is_code(text: str) -> bool:
    """Tell whether a text is an openEO code of a process, its graph or its parameters."""
    return text in CODES


if __name__ == "__main__":
    write("errors.md", page())
