"""What the command line says of the code of users: how it runs, where, and what it may take."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from typing_extensions import override

from terrazzo.cli.options import Bytes
from terrazzo.sandbox.limits import Limits, Mode, UdfRules

if TYPE_CHECKING:
    from collections.abc import Callable

UDF_VARIABLE = "TERRAZZO_UDF"
LIMITS_VARIABLE = "TERRAZZO_UDF_LIMITS"
ENVIRONMENTS_VARIABLE = "TERRAZZO_UDF_ENVIRONMENTS"
_LIMITS = {
    "wall": "wall_seconds",
    "cpu": "cpu_seconds",
    "memory": "memory_bytes",
    "scratch": "scratch_bytes",
    "threads": "threads",
    "workers": "workers",
    "kept": "kept",
}
"""Limits by the names that they have here."""


class Limit(NamedTuple):
    """A limit, as it was typed."""

    field: str
    value: float


class LimitType(click.ParamType[Limit]):
    """A limit of user code."""

    name = "NAME=VALUE"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Limit:
        """Read a name and an amount: seconds, bytes or a number."""
        if isinstance(value, Limit):
            return value
        name, _, text = str(value).partition("=")
        if name not in _LIMITS:
            self.fail(
                f"{value!r} is no limit. Write NAME=VALUE, with one of {', '.join(_LIMITS)}; for "
                "example wall=60 (seconds) or memory=4G.",
                param,
                ctx,
            )
        field = _LIMITS[name]
        if field.endswith("_bytes"):
            return Limit(field, Bytes().convert(text, param, ctx))
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        whole = not field.endswith("_seconds")
        if not 0 < number < math.inf or (whole and not number.is_integer()):
            what = "a whole number" if whole else "a number of seconds"
            self.fail(f"{value!r}: {name} is {what} above 0.", param, ctx)
        return Limit(field, int(number) if whole else number)


class EnvironmentType(click.ParamType[tuple[str, str]]):
    """A Python for user code, with the name by which it may be asked for."""

    name = "NAME=PYTHON"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Read a name and the path of an interpreter."""
        if isinstance(value, tuple):
            return value
        from terrazzo.sandbox.environments import NAME  # noqa: PLC0415 - its own libraries

        name, _, python = str(value).partition("=")
        if not NAME.fullmatch(name) or not python:
            self.fail(
                f"{value!r} is no environment. Write NAME=PYTHON, a name of letters, digits, - "
                "and _ and the path of an interpreter, for example ml=/opt/ml/bin/python.",
                param,
                ctx,
            )
        path = os.path.abspath(os.path.expanduser(python))  # noqa: PTH100, PTH111 - links stay
        if not os.access(path, os.X_OK):
            self.fail(f"{path} is no program that can be run; name a Python.", param, ctx)
        return name, path


def udf_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how code of users is run."""
    for option in (
        click.option(
            "--udf-environment",
            "udf_environments",
            multiple=True,
            type=EnvironmentType(),
            envvar=ENVIRONMENTS_VARIABLE,
            show_envvar=True,
            help="A Python that code of users may ask for by name; may be given several times.",
        ),
        click.option(
            "--udf-limit",
            "udf_limits",
            multiple=True,
            type=LimitType(),
            envvar=LIMITS_VARIABLE,
            show_envvar=True,
            help="What code of users may take for a block: wall and cpu (seconds), memory and "
            "scratch (bytes), threads; and how many workers run, and are kept, at a time. May be "
            "given several times.",
        ),
        click.option(
            "--udf",
            type=click.Choice([mode.value for mode in Mode]),
            default=Mode.SANDBOXED.value,
            show_default=True,
            envvar=UDF_VARIABLE,
            show_envvar=True,
            help="Whether code of users (run_udf) is run: in closed processes, or with all rights.",
        ),
    ):
        command = option(command)
    return command


def rules(
    mode: str, limits: tuple[Limit, ...], environments: tuple[tuple[str, str], ...]
) -> UdfRules:
    """Return what the options say; of a name that is there twice, the last counts."""
    told: dict[str, Any] = {limit.field: limit.value for limit in limits}
    return UdfRules(Mode(mode), replace(Limits(), **told), tuple(dict(environments).items()))


def udf_arguments(given: UdfRules) -> list[str]:
    """Return the options that say the same to another process."""
    told = ["--udf", given.mode.value]
    for name, member in _LIMITS.items():
        value = getattr(given.limits, member)
        if value != getattr(Limits(), member):
            told += [
                "--udf-limit",
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}",
            ]
    for name, python in given.environments:
        told += ["--udf-environment", f"{name}={python}"]
    return told
