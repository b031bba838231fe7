"""User code that is a script: bands are names in it, and it assigns `img`. Runs in a worker.

What a script imports and defines before anything else is run once, not for every block: so are
functions that Numba compiles.
"""

from __future__ import annotations

import ast
import keyword
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

IMAGE = "img"


def image_line(tree: ast.Module) -> int:
    """Return the last line that assigns `img` outside of functions, 0 if none does."""
    found = 0
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Name) and node.id == IMAGE and isinstance(node.ctx, ast.Store):
            found = max(found, node.lineno)
        waiting.extend(ast.iter_child_nodes(node))
    return found


class Script:
    """A script that has been read; what it defines first is kept between blocks."""

    def __init__(self, tree: ast.Module, file: str, given: Mapping[str, Any]) -> None:
        """Take a script.

        Args:
            tree: the script.
            file: what tracebacks call it.
            given: names that are there without an import.
        """
        self._tree, self._file, self._given = tree, file, given
        self._bands: frozenset[str] | None = None
        self._names: dict[str, Any] = {}
        self._defined: dict[str, Any] = {}
        self._code: Any = None

    def image(self, bands: Sequence[Any], labels: Sequence[Any], context: Any) -> Any:
        """Return what `img` is after a run; None if it was not assigned.

        Args:
            bands: an array each; they are `band0`, `band1` and so on.
            labels: their names, if they have some.
            context: the name `context`.
        """
        named = {
            str(label): band
            for label, band in zip(labels, bands, strict=False)
            if str(label).isidentifier() and not keyword.iskeyword(str(label))
        }
        named |= {f"band{number}": band for number, band in enumerate(bands)}
        named["context"] = context
        if self._bands != named.keys():
            self._define(named.keys())
        # Functions look names up in this one dictionary; it has nothing of the block before.
        self._names.clear()
        self._names.update(self._defined)
        self._names.update(named)
        exec(self._code, self._names)  # noqa: S102 - that is what the worker is closed for
        return self._names.get(IMAGE)

    def _define(self, bands: Collection[str]) -> None:
        """Run what comes before all that could depend on a block."""
        body = self._tree.body
        first = next((n for n, one in enumerate(body) if not _is_lasting(one, bands)), len(body))
        before, after = (self._compiled(part) for part in (body[:first], body[first:]))
        self._names = {**self._given, "__name__": "udf"}
        exec(before, self._names)  # noqa: S102
        self._defined, self._code = dict(self._names), after
        self._bands = frozenset(bands)

    def _compiled(self, body: list[ast.stmt]) -> Any:
        flags = [one for one in self._tree.body if _is_future(one) and one not in body]
        return compile(
            ast.Module([*flags, *body], self._tree.type_ignores),
            self._file,
            "exec",
            dont_inherit=True,
        )


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _is_lasting(statement: ast.stmt, bands: Collection[str]) -> bool:
    """Tell whether a statement is the same for every block, and nothing of it can change."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign):
        return _is_constant(statement.value) and not any(
            isinstance(node, ast.Name) and (node.id in bands or node.id == IMAGE)
            for target in statement.targets
            for node in ast.walk(target)
        )
    if not isinstance(statement, ast.FunctionDef):
        return False
    arguments = statement.args
    defaults = [*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)]
    outside = [*statement.decorator_list, arguments]
    if statement.returns is not None:
        outside.append(statement.returns)
    depends = any(
        isinstance(node, ast.Name) and node.id in bands
        for part in outside
        for node in ast.walk(part)
    )
    return statement.name not in bands and not depends and all(map(_is_constant, defaults))


def _is_constant(value: ast.expr) -> bool:
    """Tell whether it is a number, a text or a tuple of them."""
    if isinstance(value, ast.Tuple):
        return all(map(_is_constant, value.elts))
    if isinstance(value, ast.UnaryOp):
        return _is_constant(value.operand)
    return isinstance(value, ast.Constant)
