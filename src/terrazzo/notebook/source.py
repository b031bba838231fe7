"""The source text of a function, with all that it needs: a program that stands on its own.

What a function refers to is looked up, followed, and written down before it: imports as they
were written, constants by their values, other functions and classes by their source. Nothing is
pickled; what cannot be written down is an error.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import linecache
import math
import sys
import textwrap
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.errors import UdfInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_GIVEN = ("numpy", "openeo", "pandas", "scipy", "skimage", "sklearn", "xarray", "numba")
"""Libraries that are there wherever a UDF runs, or may be asked for."""
_MOST_NUMBERS = 10_000
"""Numbers of an array that are written down."""
_FUTURE = "from __future__ import annotations"


def source_of(function: Callable[..., Any], marks: Collection[Any], *, any_import: bool) -> str:
    """Return the source of a function and of all that it refers to.

    Args:
        function: defined with `def`, in a notebook or a file.
        marks: decorators that are left away.
        any_import: whether libraries may be imported that are not there by default.

    Raises:
        UdfInvalid: it has no source, or refers to what cannot be written down.
    """
    return _Text(marks, any_import=any_import).of(function)


def plain(function: Callable[..., Any]) -> FunctionType:
    """Return the function that was written with `def`, beneath its decorators.

    Raises:
        UdfInvalid: there is none.
    """
    found = inspect.unwrap(function)
    if not isinstance(found, FunctionType):
        raise UdfInvalid(
            f"{function!r:.100} is no function that was written with `def`, and has no source "
            "that could be sent. Call it from a function of your own."
        )
    if found.__name__ == "<lambda>":
        raise UdfInvalid("A lambda cannot be sent: write it with `def`, which gives it a name.")
    return found


class _Text:
    """What is written down so far."""

    def __init__(self, marks: Collection[Any], *, any_import: bool) -> None:
        self._marks, self._any_import = marks, any_import
        self._imports: dict[str, None] = {}
        self._constants: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._known: dict[str, Any] = {}
        self._future = False

    def of(self, function: Callable[..., Any]) -> str:
        """Return the whole text of a function."""
        self._define(plain(function).__name__, function)
        future = [_FUTURE] if self._future else []
        head = [*future, *sorted(self._imports)]
        parts = ["\n".join(head)] if head else []
        if self._constants:
            parts.append("\n".join(self._constants.values()))
        return "\n\n".join([*parts, *self._definitions.values()]) + "\n"

    def _define(self, name: str, function: Callable[..., Any]) -> None:
        """Write a function down, after all that it refers to."""
        found = plain(function)
        text = _text_of(found)
        [tree] = ast.parse(text).body
        assert isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef))  # noqa: S101 - `def`
        self._future |= bool(found.__code__.co_flags & 0x1000000)  # CO_FUTURE_ANNOTATIONS
        names = _names_of(found)
        tree.decorator_list = [one for one in tree.decorator_list if not self._is_mark(one, names)]
        self._definitions.setdefault(name, "")  # so that recursion ends
        self._refer(tree, names, found)
        marks = [f"@{ast.unparse(one)}" for one in tree.decorator_list]
        del self._definitions[name]
        self._definitions[name] = "\n".join(
            [*marks, *text.splitlines()[tree.lineno - 1 :]]
        ).rstrip()

    def _is_mark(self, decorator: ast.expr, names: Mapping[str, Any]) -> bool:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        return any(_value(target, names) is mark for mark in self._marks)

    def _refer(self, tree: ast.AST, names: Mapping[str, Any], function: FunctionType) -> None:
        """Write down what a piece of code refers to."""
        skipped = _annotations(tree) if self._future else set()
        for name in _free_names(tree):
            if name in names:
                self._write(name, names[name], tree, function)
            elif name not in skipped and not hasattr(builtins, name):
                raise UdfInvalid(
                    f"`{function.__name__}` refers to {name!r}, which is not defined. Define it "
                    "before, or give it as `context`."
                )

    def _write(self, name: str, value: Any, tree: ast.AST, function: FunctionType) -> None:
        """Write down what a name stands for."""
        if name in self._known:
            if self._known[name] is not value:
                raise UdfInvalid(
                    f"{name!r} means different things in the functions that `{function.__name__}` "
                    "needs. Give one of them another name."
                )
            return
        self._known[name] = value
        literal = _literal(value)
        if isinstance(value, ModuleType):
            self._import_module(name, value, tree)
        elif literal is not None:
            self._constants[name] = f"{name} = {literal}"
            if "numpy." in literal:
                self._imports["import numpy"] = None
        elif _is_own(value):
            self._write_function(name, value, function)
        else:
            self._write_statement(name, value, function)

    def _write_function(self, name: str, value: Callable[..., Any], function: FunctionType) -> None:
        """Write a function of the user down, and the other name that it has here."""
        own = plain(value).__name__
        if self._known.setdefault(own, value) is not value:
            raise UdfInvalid(
                f"`{function.__name__}` needs two functions called {own!r}. Give one of them "
                "another name."
            )
        self._define(own, value)
        if own != name:
            self._definitions[name] = f"{name} = {own}"

    def _write_statement(self, name: str, value: Any, function: FunctionType) -> None:
        """Write an import or a class down."""
        statement = _statement(name, value, function)
        if isinstance(statement, ast.ImportFrom):
            self._allow(statement.module or "", name, function)
            self._imports[_one_import(statement, name)] = None
        elif isinstance(statement, ast.ClassDef):
            self._refer(statement, _names_of(function), function)
            self._definitions[name] = ast.unparse(statement)
        else:
            raise UdfInvalid(
                f"`{function.__name__}` refers to {name!r}, a {type(value).__name__} that has no "
                "source. Make it in the function, or give it as `context`."
            )

    def _import_module(self, name: str, module: ModuleType, tree: ast.AST) -> None:
        self._allow(module.__name__, name, None)
        path = module.__name__
        if path.partition(".")[0] == name:
            self._imports[f"import {name}"] = None
        elif path == name:
            self._imports[f"import {path}"] = None
        else:
            self._imports[f"import {path} as {name}"] = None
        for chain in _chains(tree, name):
            inner: Any = module
            for part in chain:
                inner = getattr(inner, part, None)
                if not isinstance(inner, ModuleType):
                    break
                if importlib.util.find_spec(inner.__name__) is not None:
                    self._imports[f"import {inner.__name__}"] = None

    def _allow(self, module: str, name: str, function: FunctionType | None) -> None:
        """Refuse modules that are not there where the code runs.

        Raises:
            UdfInvalid: it is one of the user's own, or of a library that was not declared.
        """
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in _GIVEN or self._any_import:
            return
        who = f"`{function.__name__}`" if function is not None else "The function"
        raise UdfInvalid(
            f"{who} needs {name!r} of the module {module!r}, which is not there where UDFs run. "
            f"Libraries there: {', '.join(_GIVEN)}. Put what you need of it into the notebook, "
            "or declare it: `@terrazzo.udf(dependencies=[...], environment=...)`."
        )


def _is_own(value: Any) -> bool:
    """Tell whether a value is a function that no library has."""
    if not callable(value):
        return False
    function = inspect.unwrap(value)
    if not isinstance(function, FunctionType):
        return False
    top = str(function.__module__).partition(".")[0]
    return top not in sys.stdlib_module_names and top not in _GIVEN


def _names_of(function: FunctionType) -> dict[str, Any]:
    """Return what names mean inside of a function."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    inner = {}
    for name, cell in cells:
        try:
            inner[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return {**function.__globals__, **inner}


def _text_of(function: FunctionType) -> str:
    """Return the text of a function.

    Raises:
        UdfInvalid: nobody has kept it.
    """
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError):
        raise UdfInvalid(
            f"The source of `{function.__name__}` is not known: it was typed at a plain prompt, or "
            "made by `exec`. Define it in a notebook or in a file."
        ) from None


def _statement(name: str, value: Any, function: FunctionType) -> ast.stmt | None:
    """Return the statement that gives a name its meaning: an import, or a class."""
    texts = ["".join(linecache.getlines(function.__code__.co_filename, function.__globals__))]
    cells = function.__globals__.get("In")
    if isinstance(cells, list):  # of IPython: the cells that were run
        texts += [cell for cell in reversed(cells) if isinstance(cell, str)]
    for text in texts:
        try:
            found = ast.walk(ast.parse(text))
        except SyntaxError:  # a cell with magic
            continue
        for node in found:
            if isinstance(node, ast.ImportFrom) and not node.level and _binds(node, name):
                return node
            if isinstance(node, ast.ClassDef) and node.name == name and isinstance(value, type):
                return node
    module, inner = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if isinstance(module, str) and inner.isidentifier():
        loaded = sys.modules.get(module)
        if module != function.__module__ and getattr(loaded, inner, None) is value:
            return ast.ImportFrom(module, [ast.alias(inner, name)], 0)
    return None


def _binds(node: ast.ImportFrom, name: str) -> bool:
    return any((alias.asname or alias.name) == name for alias in node.names)


def _one_import(node: ast.ImportFrom, name: str) -> str:
    """Return an import of one name only."""
    alias = next(one for one in node.names if (one.asname or one.name) == name)
    renamed = f" as {name}" if alias.name != name else ""
    return f"from {node.module} import {alias.name}{renamed}"


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what a name, or a name of a name, stands for; None if nobody knows."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, names), node.attr, None)
    return None


def _chains(tree: ast.AST, name: str) -> Iterator[tuple[str, ...]]:
    """Yield the attributes that are asked of a name: `a.b.c` gives (b, c)."""
    for node in ast.walk(tree):
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name) and inner.id == name:
            yield tuple(parts)


def _free_names(tree: ast.AST) -> list[str]:
    """Return the names that a definition takes from outside of itself, in order."""
    import symtable  # noqa: PLC0415 - seldom needed

    module = ast.Module([tree] if isinstance(tree, ast.stmt) else [], [])
    table = symtable.symtable(ast.unparse(module), "<udf>", "exec")
    own = {tree.name} if isinstance(tree, (ast.FunctionDef, ast.ClassDef)) else set()
    found: dict[str, None] = {}

    def look(inner: symtable.SymbolTable, *, outermost: bool) -> None:
        for symbol in inner.get_symbols():
            outside = (
                symbol.is_referenced() and not symbol.is_assigned()
                if outermost
                else (symbol.is_global())
            )
            if outside and symbol.get_name() not in own:
                found[symbol.get_name()] = None
        for child in inner.get_children():
            look(child, outermost=False)

    look(table, outermost=True)
    return list(found)


def _annotations(tree: ast.AST) -> set[str]:
    """Return the names in annotations, which need not be there where these are not evaluated."""
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            found.append(node.returns)
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            found.append(node.annotation)
    return {n.id for one in found for n in ast.walk(one) if isinstance(n, ast.Name)}


def _literal(value: Any) -> str | None:  # noqa: PLR0911 - one way of writing each kind
    """Return a value as it is written in Python; None if it cannot be."""
    if value is None or value is Ellipsis or isinstance(value, (bool, int, str, bytes)):
        return (
            repr(value) if type(value) in {type(None), type(...), bool, int, str, bytes} else None
        )
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if type(value) in {tuple, list, set, frozenset}:
        inner = [_literal(one) for one in value]
        listed = f"[{', '.join(map(str, inner))}]"
        if None in inner:
            return None
        return listed if type(value) is list else f"{type(value).__name__}({listed})"
    if type(value) is dict:
        pairs = [(_literal(key), _literal(one)) for key, one in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        if value.size > _MOST_NUMBERS:
            return None
        written = _literal(value.tolist())
        return f"numpy.array({written}, dtype={value.dtype.str!r})" + (
            "" if isinstance(value, np.ndarray) else "[()]"
        )
    return None
