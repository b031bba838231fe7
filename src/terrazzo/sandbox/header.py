"""What user code says it needs, and what there is: PEP 723 and the runtimes of openEO.

Source: PEP 723, Inline script metadata; openEO API 1.2, `GET /udf_runtimes`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import platform
import re
import sys
import tomllib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from terrazzo.errors import InvalidRuntime, InvalidVersion, UdfInvalid, suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PACKAGES: Mapping[str, str] = {
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "xarray": "xarray",
}
"""Packages that user code may ask for, and the modules that they are imported as."""
_OPENING = re.compile(r"# /// (?P<type>[a-zA-Z0-9-]+)\s*")
_MOST_HEADER = 20_000
_RESULT = ("dtype", "dimensions", "labels")
DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)
"""Types that may be declared for a result."""
_RUNTIME = "Python"


@cache
def installed() -> dict[str, str]:
    """Return the version of each package that user code may use and that is there."""
    return {
        name: importlib.metadata.version(name)
        for name, module in PACKAGES.items()
        if importlib.util.find_spec(module) is not None
    }


@cache
def runtimes() -> dict[str, Any]:
    """Return the runtimes as openEO's `GET /udf_runtimes` lists them."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    libraries = {name: {"version": found} for name, found in installed().items()}
    return {
        _RUNTIME: {
            "title": f"Python {version}",
            "description": f"{platform.python_implementation()} {platform.python_version()}, in "
            "closed processes without network and files.",
            "type": "language",
            "default": version,
            "versions": {version: {"libraries": libraries}},
        }
    }


def check_runtime(runtime: str, version: str | None) -> None:
    """Refuse a runtime that there is not.

    Raises:
        InvalidRuntime: no runtime has that name; upper and lower case are alike.
        InvalidVersion: it has no such version.
    """
    known = {name.lower(): (name, told) for name, told in runtimes().items()}
    if runtime.lower() not in known:
        names = [name for name, _ in known.values()]
        raise InvalidRuntime(
            f"There is no UDF runtime {runtime[:100]!r}."
            f"{suggest(runtime[:100], names)} Runtimes here: "
            f"{', '.join(names)}."
        )
    name, told = known[runtime.lower()]
    versions = list(told["versions"])
    if version is not None and not any(_is_part(version, whole) for whole in versions):
        raise InvalidVersion(
            f"The UDF runtime {name} has no version {version[:100]!r}. Versions here: "
            f"{', '.join(versions)}; null takes {told['default']}."
        )


def _is_part(version: str, whole: str) -> bool:
    """Tell whether a version, or its beginning, is meant: 3 and 3.11 are 3.11."""
    parts, wholes = version.split("."), whole.split(".")
    return parts == wholes[: len(parts)] or version == platform.python_version()


def check_header(code: str) -> None:
    """Refuse code that asks for packages that are not there (PEP 723).

    Raises:
        UdfInvalid: a package is not among those that may be used, is not installed or has
            another version, or the header cannot be read.
    """
    told = _header(code)
    required = told.get("dependencies", [])
    if not isinstance(required, list) or not all(isinstance(entry, str) for entry in required):
        raise UdfInvalid("`dependencies` in the header of the UDF is a list of texts.")
    have = installed()
    for entry in required:
        _check_requirement(entry, have)
    python = told.get("requires-python")
    if python is not None and not _fits(f"python{python}", platform.python_version()):
        raise UdfInvalid(
            f"The UDF requires Python {python}, and this one is {platform.python_version()}."
        )


@dataclass(frozen=True, slots=True)
class Declared:
    """What the header of user code says that it returns: `[tool.terrazzo.result]`."""

    dtype: str | None = None
    """NumPy's name of the type of its numbers."""
    dimensions: tuple[str, ...] | None = None
    """All but x and y, which stay; None says nothing."""
    labels: Mapping[str, tuple[str | float, ...]] = field(default_factory=dict)
    """Of dimensions that get other labels than they had."""

    @property
    def told(self) -> dict[str, Any]:
        """Return it as a worker gets it."""
        found: dict[str, Any] = {"labels": {n: list(one) for n, one in self.labels.items()}}
        if self.dtype is not None:
            found["dtype"] = self.dtype
        if self.dimensions is not None:
            found["dimensions"] = list(self.dimensions)
        return found


def declared_result(code: str) -> Declared:
    """Return what the header of a code declares of its result.

    Raises:
        UdfInvalid: it cannot be read, or says what makes no sense.
    """
    told = _header(code)
    for key in ("tool", "terrazzo", "result"):
        told = told.get(key, {})
        if not isinstance(told, dict):
            raise UdfInvalid(f"`{key}` in the header of the UDF is a table.")
    unknown = [key for key in told if key not in _RESULT]
    if unknown:
        raise UdfInvalid(
            f"`[tool.terrazzo.result]` in the header of the UDF knows no {unknown[0][:100]!r}."
            f"{suggest(unknown[0][:100], _RESULT)} It knows {', '.join(_RESULT)}."
        )
    dtype, names = told.get("dtype"), told.get("dimensions")
    labels = told.get("labels", {})
    if dtype is not None and dtype not in DTYPES:
        raise UdfInvalid(
            f"`dtype` in the header of the UDF is one of {', '.join(DTYPES)}, not {dtype!r:.100}."
        )
    if names is not None and not _are_labels(names, str):
        raise UdfInvalid("`dimensions` in the header of the UDF are names that differ.")
    if not isinstance(labels, dict) or not all(
        _are_labels(one, (str, int, float)) for one in labels.values()
    ):
        raise UdfInvalid(
            "`labels` in the header of the UDF has a list of texts or numbers that differ for each "
            "dimension."
        )
    return Declared(
        dtype,
        None if names is None else tuple(names),
        {name: tuple(one) for name, one in labels.items()},
    )


def _are_labels(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(one, kinds) and not isinstance(one, bool) for one in value)
        and all(not isinstance(one, float) or math.isfinite(one) for one in value)
        and len(set(value)) == len(value)
    )


def _header(code: str) -> dict[str, Any]:
    blocks = list(_blocks(code.splitlines()))
    if len(blocks) > 1:
        raise UdfInvalid("The UDF has several `# /// script` blocks; PEP 723 allows one.")
    if not blocks:
        return {}
    if len(blocks[0]) > _MOST_HEADER:
        raise UdfInvalid(f"The `# /// script` block of a UDF has at most {_MOST_HEADER} letters.")
    try:
        return tomllib.loads(blocks[0])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UdfInvalid(f"The `# /// script` block of the UDF is no TOML: {error}.") from None


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    """Yield the content of `# /// script` blocks; they end with the last `# ///` of a comment."""
    number = 0
    while number < len(lines):
        opened = _OPENING.fullmatch(lines[number])
        number += 1
        if opened is None:
            continue
        start = number
        while number < len(lines) and (lines[number] == "#" or lines[number].startswith("# ")):
            number += 1
        ends = [place for place in range(start, number) if lines[place] == "# ///"]
        if ends and opened["type"] == "script":
            yield "\n".join(line[2:] for line in lines[start : ends[-1]])


def _check_requirement(entry: str, have: Mapping[str, str]) -> None:
    name = re.split(r"[^A-Za-z0-9._-]", entry.strip(), maxsplit=1)[0]
    normal = re.sub(r"[-_.]+", "-", name).lower()
    if normal not in have:
        there = ", ".join(f"{known} {version}" for known, version in have.items())
        raise UdfInvalid(
            f"The UDF depends on {entry!r}, which is not here.{suggest(normal, list(have))} "
            f"Packages here: {there}. Nothing can be installed for a UDF."
        )
    if not _fits(entry, have[normal]):
        raise UdfInvalid(f"The UDF depends on {entry!r}, and {normal} {have[normal]} is installed.")


def _fits(entry: str, version: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - xarray's

    try:
        required = Requirement(entry)
    except InvalidRequirement as error:
        raise UdfInvalid(f"{entry!r} in the header of the UDF is no requirement: {error}") from None
    if required.url:
        raise UdfInvalid(f"{entry!r}: no address can be installed from; name a package.")
    return required.specifier.contains(version, prereleases=True)
