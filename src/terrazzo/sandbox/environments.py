"""The Pythons in which user code may run: Terrazzo's own, and those that an operator names.

Source: openEO API 1.2, `GET /udf_runtimes`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.errors import InvalidRuntime, InvalidVersion, UdfInvalid, UdfRefused, suggest
from terrazzo.sandbox.header import asked_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME = "Python"
PACKAGES: Mapping[str, str] = {
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "xarray": "xarray",
}
"""Packages of Terrazzo's own environment that user code may ask for, and their modules."""
NEEDED = ("numpy", "pandas", "typing_extensions", "xarray")
"""Modules without which no environment can be used."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""Names that an environment may have; none could be a version of Python."""
_SECONDS = 60.0
_OLDEST = (3, 11)
_LOOK = """
import importlib.metadata, importlib.util, json, os, platform, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
    "version": platform.python_version(),
    "packages": {d.name: d.version for d in importlib.metadata.distributions()
                 if d.name and d.version},
    "missing": [m for m in %r if importlib.util.find_spec(m) is None],
    "path": list(dict.fromkeys([paths["purelib"], paths["platlib"]])),
    "readable": [paths["stdlib"], paths["platstdlib"], os.path.dirname(os.__file__),
                 os.path.join(sys.base_prefix, "lib")],
}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python with its packages."""

    name: str
    """As user code asks for it; empty for Terrazzo's own."""
    python: str
    """Its interpreter."""
    version: str
    """Of Python, in full."""
    packages: tuple[tuple[str, str], ...]
    """Names and versions of what user code may ask for, as package indexes write them."""
    path: tuple[str, ...]
    """Folders from which it imports."""
    readable: tuple[str, ...]
    """Folders of its standard library."""
    program: str = ""
    """Module of ours that workers run, see `terrazzo.sandbox.closed`; empty for code of users."""


@cache
def own_environment() -> Environment:
    """Return the environment of Terrazzo itself."""
    kinds = ("stdlib", "platstdlib")
    places = {Path(sysconfig.get_path(kind)) for kind in kinds}
    places |= {Path(os.__file__).parent, Path(sys.base_prefix) / "lib"}
    return Environment(
        "",
        sys.executable,
        platform.python_version(),
        tuple(
            (name, importlib.metadata.version(name))
            for name, module in PACKAGES.items()
            if importlib.util.find_spec(module) is not None
        ),
        tuple(_package_folders()),
        tuple(str(place) for place in sorted(places)),
    )


def _package_folders() -> list[str]:
    """Return the folders in which the libraries of user code are installed."""
    folders = dict.fromkeys(
        str(
            Path(found.origin).parents[1]
            if found.submodule_search_locations
            else Path(found.origin).parent
        )
        for name in (*PACKAGES.values(), "typing_extensions")
        if (found := importlib.util.find_spec(name)) is not None and found.origin
    )
    return list(folders)


@cache
def look_at(name: str, python: str) -> Environment:
    """Find out what is in an environment, by asking its interpreter once.

    Raises:
        UdfRefused: it is no interpreter that workers could run in.
    """
    what = f"The UDF environment {name!r} ({python}) cannot be used"
    try:
        done = subprocess.run(  # noqa: S603 - an operator has named it
            [python, "-I", "-B", "-c", _LOOK % (NEEDED,)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            check=True,
            text=True,
        )
        told = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise UdfRefused(f"{what}: it ends with {last[:200]!r}. Name a Python.") from None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UdfRefused(f"{what}: {error}. Name a Python, as `bin/python` of a venv.") from None
    if tuple(map(int, told["version"].split(".")[:2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise UdfRefused(f"{what}: it is Python {told['version']}; {oldest} or later is needed.")
    if told["missing"]:
        missing = " ".join(told["missing"])
        raise UdfRefused(f"{what}: it lacks {missing}. Run `{python} -m pip install {missing}`.")
    packages = {normal(found): version for found, version in told["packages"].items()}
    return Environment(
        name,
        python,
        told["version"],
        tuple(sorted(packages.items())),
        tuple(told["path"]),
        tuple(told["readable"]),
    )


def normal(package: str) -> str:
    """Return the name of a package as indexes write it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def environment_of(
    code: str, version: str | None, environments: tuple[tuple[str, str], ...] = ()
) -> Environment:
    """Return the environment that a piece of user code asks for.

    Args:
        code: its header may name one: `[tool.terrazzo]`, `environment = "..."`.
        version: the version of the runtime, as `run_udf` has it: the name of an environment, or
            a version of Python that the environment must have.
        environments: names and interpreters of those that the operator has added.

    Raises:
        UdfInvalid: the header names one that there is not, or another than `version`.
        InvalidVersion: `version` is no environment, and not the version of Python.
        UdfRefused: the environment cannot be used.
    """
    known = dict(environments)
    asked, named = asked_environment(code), version if version in known else None
    if asked is not None and asked not in known:
        raise UdfInvalid(
            f"The UDF asks for the environment {asked[:100]!r}, which is not here."
            f"{suggest(asked[:100], list(known))} Environments here: {_listed(known)}. An "
            "operator adds one with `--udf-environment NAME=PYTHON`."
        )
    if asked is not None and named is not None and asked != named:
        raise UdfInvalid(
            f"The header of the UDF asks for the environment {asked!r}, and `version` for "
            f"{named!r}. Leave one out."
        )
    name = asked or named
    found = own_environment() if name is None else look_at(name, known[name])
    if version is not None and named is None and not _is_part(version, found.version):
        raise InvalidVersion(
            f"The UDF runtime {RUNTIME} has no version {version[:100]!r}"
            f"{f' in the environment {name!r}' if name else ''}. Versions here: "
            f"{', '.join((_short(found.version), *known))}; null takes {_short(found.version)}."
        )
    return found


def _listed(known: Mapping[str, str]) -> str:
    return ", ".join(known) or "none"


def check_runtime(runtime: str) -> None:
    """Refuse a runtime that there is not; upper and lower case are alike.

    Raises:
        InvalidRuntime: no runtime has that name.
    """
    if runtime.lower() != RUNTIME.lower():
        raise InvalidRuntime(
            f"There is no UDF runtime {runtime[:100]!r}.{suggest(runtime[:100], [RUNTIME])} "
            f"Runtimes here: {RUNTIME}."
        )


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _is_part(version: str, whole: str) -> bool:
    """Tell whether a version, or its beginning, is meant: 3 and 3.11 are 3.11.7."""
    parts = version.split(".")
    return parts == whole.split(".")[: len(parts)]


@cache
def runtimes(environments: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """Return the runtimes as openEO's `GET /udf_runtimes` lists them.

    Args:
        environments: names and interpreters of those that the operator has added; one that
            cannot be used is left out.
    """
    own = own_environment()
    version = _short(own.version)
    versions = {version: _libraries(own)}
    for name, python in environments:
        try:
            versions[name] = _libraries(look_at(name, python))
        except UdfRefused:
            continue
    return {
        RUNTIME: {
            "title": f"Python {version}",
            "description": f"{platform.python_implementation()} {own.version}, in closed "
            "processes without network and files. Versions with other names are further "
            "environments of this server.",
            "type": "language",
            "default": version,
            "versions": versions,
        }
    }


def _libraries(environment: Environment) -> dict[str, Any]:
    return {"libraries": {name: {"version": found} for name, found in environment.packages}}
