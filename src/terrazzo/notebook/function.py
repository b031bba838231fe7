"""`terrazzo.udf`: a function for `run_udf`, written in a notebook, tried out there, and sent."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from typing_extensions import override

from terrazzo.errors import ArgumentInvalid, UdfInvalid
from terrazzo.notebook.source import plain, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from terrazzo.sandbox import UdfRules

Takes = Literal["bands", "cube", "series", "udf_data"]
_NAMES: Mapping[Takes, str] = {
    "cube": "apply_datacube",
    "series": "apply_timeseries",
    "udf_data": "apply_udf_data",
}
"""What a UDF calls a function that takes this."""
_OWN_NAMES = (*_NAMES.values(), "apply_hypercube", "apply_vectorcube")
_ANNOTATIONS: Mapping[str, Takes] = {
    "DataArray": "cube",
    "DataCube": "cube",
    "XarrayDataCube": "cube",
    "Series": "series",
    "UdfData": "udf_data",
}
_PARAMETERS: Mapping[str, Takes] = {
    "array": "cube",
    "cube": "cube",
    "data": "cube",
    "series": "series",
    "udf_data": "udf_data",
}
_CONTEXT = "context"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@overload
def udf(function: Callable[..., Any], /) -> UserFunction: ...
@overload
def udf(
    *,
    takes: Takes | None = None,
    dependencies: Sequence[str] = (),
    environment: str = "",
    result: Mapping[str, Any] = _NOTHING,
) -> Callable[[Callable[..., Any]], UserFunction]: ...
def udf(
    function: Callable[..., Any] | None = None,
    /,
    *,
    takes: Takes | None = None,
    dependencies: Sequence[str] = (),
    environment: str = "",
    result: Mapping[str, Any] = _NOTHING,
) -> UserFunction | Callable[[Callable[..., Any]], UserFunction]:
    """Make a function one that can be tried out on a sample and sent to a server.

    Args:
        function: what is decorated.
        takes: what it takes: `bands` (NumPy arrays, one per parameter without default, by the
            names of bands or `band0`, `band1` ...), `cube` (an `xarray.DataArray`), `series` (a
            `pandas.Series`) or `udf_data`. None decides by the annotation or the name of its first
            parameter: `cube`, `data` and `array` are cubes, `series` a series, all else bands.
        dependencies: packages that it needs, as `pip` writes them, for its header (PEP 723).
        environment: name of an environment of the server in which it shall run.
        result: `dtype`, `dimensions` and `labels` that it declares to return.

    Returns:
        The function; it can be called as before.

    Raises:
        UdfInvalid: it is no function with a name.
    """

    def made(function: Callable[..., Any]) -> UserFunction:
        return UserFunction(
            function,
            takes=takes,
            dependencies=dependencies,
            environment=environment,
            result=result,
        )

    return made if function is None else made(function)


class UserFunction:
    """A function that can be called, tried out, and sent.

    The openEO client takes it where it takes a callback: `cube.apply(process=it)`.
    """

    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        takes: Takes | None = None,
        dependencies: Sequence[str] = (),
        environment: str = "",
        result: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """Make it of a function; `udf` says what the arguments mean.

        Raises:
            UdfInvalid: it is no function with a name.
            ArgumentInvalid: `takes` is none of the ways to take something.
        """
        if takes is not None and takes not in get_args(Takes):
            raise ArgumentInvalid(f"`takes` is one of {', '.join(get_args(Takes))}, not {takes!r}.")
        found = plain(function)
        functools.update_wrapper(self, found)
        self.__wrapped__ = function
        # The client asks which parameter takes what it has.
        self.__signature__ = inspect.Signature(
            [inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        )
        self.takes: Takes = takes or _takes(found)
        self.dependencies = tuple(dependencies)
        self.environment = environment
        self.result = dict(result)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself; with a node of the client, add the one that runs it."""
        builder = getattr(
            sys.modules.get("openeo.internal.processes.builder"), "ProcessBuilderBase", ()
        )
        for given in (*arguments, *named.values()):
            if builder and isinstance(given, builder):
                told = {"data": given, "udf": self.source, "runtime": "Python"}
                return given.process("run_udf", told)
        return self.__wrapped__(*arguments, **named)

    @override
    def __repr__(self) -> str:
        return f"<UDF {plain(self.__wrapped__).__name__}, takes {self.takes}>"

    @property
    def source(self) -> str:
        """The text that is sent: header, imports, constants, and all functions that it needs.

        Raises:
            UdfInvalid: something that it refers to cannot be written down.
        """
        found = plain(self.__wrapped__)
        declared = bool(self.dependencies or self.environment)
        text = source_of(self.__wrapped__, (udf, self), any_import=declared)
        name = found.__name__
        if self.takes == "bands":
            called = ", ".join(f"{one}={one}" for one in _bands(found))
            glue = f"\nimg = {name}({called})\n"
        elif name in _OWN_NAMES:
            glue = ""
        else:
            glue = f"\n{_NAMES[self.takes]} = {name}\n"
        return f"{self._header()}{text}{glue}"

    def _header(self) -> str:
        """Return what PEP 723 says of it, if anything."""
        lines = []
        if self.dependencies:
            lines.append(f"dependencies = {json.dumps(self.dependencies)}")
        if self.environment:
            lines += ["[tool.terrazzo]", f"environment = {json.dumps(self.environment)}"]
        if self.result:
            labels = self.result.get("labels", {})
            lines.append("[tool.terrazzo.result]")
            lines += [
                f"{key} = {json.dumps(one)}" for key, one in self.result.items() if key != "labels"
            ]
            if labels:
                lines.append("[tool.terrazzo.result.labels]")
            lines += [f"{json.dumps(name)} = {json.dumps(one)}" for name, one in labels.items()]
        if not lines:
            return ""
        return "\n".join(["# /// script", *(f"# {line}" for line in lines), "# ///"]) + "\n"

    def udf(self, context: Mapping[str, Any] | None = None, version: str | None = None) -> Any:
        """Return the `openeo.UDF` of the official client.

        Args:
            context: JSON values for the function.
            version: of the runtime; None leaves the choice to the header and the server.

        Raises:
            ImportError: the client is not installed.
        """
        given = None if context is None else dict(context)
        return import_module("openeo").UDF(
            self.source, runtime="Python", version=version, context=given
        )

    def test(
        self,
        sample: Any,
        *,
        bands: Sequence[str] = (),
        context: Any = None,
        sandboxed: bool = True,
        rules: UdfRules | None = None,
    ) -> Any:
        """Run its source on a sample, as a server does, and return what comes back.

        Args:
            sample: a NumPy array (y, x), (bands, y, x) or (t, bands, y, x), or of dates for a
                series; an `xarray.DataArray`, a cube of Terrazzo, or a `UdfData`.
            bands: names of the bands of a NumPy array; `band0`, `band1` ... without.
            context: JSON values for the function.
            sandboxed: whether it runs in a closed process; without, in this one, where a debugger
                reaches it and errors of it are raised as they are.
            rules: limits and environments as the server has them.

        Returns:
            The same kind as the sample: no-data is NaN.

        Raises:
            UdfRefused: there is nothing here to close a process with.
            UdfInvalid: it asks for packages that are not there.
            UdfFailed: it failed, took too much, or returned what does not fit.
        """
        from terrazzo.notebook.samples import run  # noqa: PLC0415 - loads the engine's arrays

        return run(
            self.source, sample, bands=bands, context=context, sandboxed=sandboxed, rules=rules
        )


def _takes(function: Callable[..., Any]) -> Takes:
    """Say what a function takes, by its name, or the annotation or name of its first parameter."""
    for kind, name in _NAMES.items():
        if function.__name__ == name:
            return kind
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if function.__name__ in _OWN_NAMES:
        return "cube"
    if first is None:
        raise UdfInvalid(f"`{function.__name__}` takes nothing; a UDF takes at least one array.")
    annotation = getattr(first.annotation, "__name__", str(first.annotation)).rpartition(".")[2]
    return _ANNOTATIONS.get(annotation) or _PARAMETERS.get(first.name, "bands")


def _bands(function: Callable[..., Any]) -> list[str]:
    """Return the parameters that are bands or the context."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name == _CONTEXT
        or (
            parameter.default is parameter.empty
            and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        )
    ]
