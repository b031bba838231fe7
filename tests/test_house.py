"""The house rules that no linter knows: size, lightness, documentation that runs."""

from __future__ import annotations

import ast
import io
import json
import linecache
import re
import subprocess
import sys
import tokenize
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = [
    p
    for folder in ("src", "tests", "bench", "scripts")
    for p in sorted((ROOT / folder).rglob("*.py"))
    if ROOT / "bench" / "data" not in p.parents  # what benchmarks make and install
]
PAGES = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if p.is_file()]

LINES_IN_A_MODULE = 500
LINES_IN_A_FUNCTION = 60
MODULES_LOADED = 300
HEAVY = {"rasterio", "dask", "fastapi", "torch"}

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+|~~~+)(?P<info>[^\n`]*)$")
MARK = re.compile(r"\b(?:TODO|FIXME)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def lines_of(function: Function) -> int:
    """Count from `def` to the last line without the docstring, which nobody should save on."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Walk the public classes, methods and functions; an override speaks through its base."""
    for node in body:
        if not isinstance(node, ast.ClassDef | Function):
            continue
        said_elsewhere = re.search(
            r"\b(?:overload|override|setter)\b", " ".join(map(ast.unparse, node.decorator_list))
        )
        if node.name.startswith("_") or said_elsewhere:
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{prefix}{node.name}.")


def fenced(page: str) -> Iterator[tuple[int, str, str]]:
    """Yield first line number, info string and text of every fenced block of a Markdown page."""
    begun: tuple[int, re.Match[str], list[str]] | None = None
    for number, line in enumerate(page.splitlines(), 1):
        fence = FENCE.match(line)
        if begun is None:
            begun = (number + 1, fence, []) if fence else None
            continue
        first, opening, lines = begun
        if fence and not fence["info"].strip() and fence["ticks"].startswith(opening["ticks"]):
            yield first, opening["info"].strip(), "\n".join(lines)
            begun = None
        else:
            lines.append(line.removeprefix(opening["indent"]))
    if begun is not None:
        yield begun[0], "unclosed", ""


def test_import_is_light() -> None:
    code = "import terrazzo, json, sys; print(json.dumps(list(sys.modules)))"

    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))

    assert HEAVY.intersection(loaded) == set()
    assert len(loaded) <= MODULES_LOADED


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_module_is_short_and_documented(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)

    lines = len(text.splitlines())
    long = {f.name: lines_of(f) for f in functions(tree) if lines_of(f) > LINES_IN_A_FUNCTION}
    silent = [name for name, node in public(tree.body) if ast.get_docstring(node) is None]

    assert lines <= LINES_IN_A_MODULE
    assert long == {}
    assert silent == []


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_comments_leave_nothing_to_do(path: Path) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)

    marks = [t.start[0] for t in tokens if t.type == tokenize.COMMENT and MARK.search(t.string)]

    assert marks == []


@pytest.mark.parametrize("path", PAGES, ids=short)
def test_python_fences_are_named_python(path: Path) -> None:
    infos = [(line, info) for line, info, _ in fenced(path.read_text())]

    dodged = [
        (line, info)
        for line, info in infos
        if info == "unclosed" or (re.match(r"\{?\.?py", info, re.IGNORECASE) and info != "python")
    ]

    assert dodged == []


@pytest.mark.parametrize("path", PAGES, ids=short)
def test_documentation_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [(line, text) for line, info, text in fenced(path.read_text()) if info == "python"]
    module = types.ModuleType(f"documentation_{path.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    typed: list[str] = []
    # Notebooks keep what was typed in the same way, for whoever asks for a function's source.
    monkeypatch.setitem(linecache.cache, short(path), (0, None, typed, short(path)))

    for line, text in blocks:
        typed += ["\n"] * (line - 1 - len(typed)) + [f"{one}\n" for one in text.splitlines()]
        source = "\n" * (line - 1) + text
        exec(compile(source, short(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 - ours
