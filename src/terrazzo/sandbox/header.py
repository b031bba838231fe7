"""What user code says of itself: what it needs, where it wants to run, what it returns.

Source: PEP 723, Inline script metadata.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from terrazzo.errors import UdfInvalid, suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_OPENING = re.compile(r"# /// (?P<type>[a-zA-Z0-9-]+)\s*")
_MOST_HEADER = 20_000
_OURS = ("environment", "result")
_RESULT = ("dtype", "dimensions", "labels")
DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)
"""Types that may be declared for a result."""


def check_header(code: str, have: Mapping[str, str], version: str) -> None:
    """Refuse code that asks for packages that are not there (PEP 723).

    Args:
        code: of the user.
        have: versions of the packages that it may use.
        version: of Python.

    Raises:
        UdfInvalid: a package is not among those that may be used, is not installed or has
            another version, or the header cannot be read.
    """
    told = _header(code)
    required = told.get("dependencies", [])
    if not isinstance(required, list) or not all(isinstance(entry, str) for entry in required):
        raise UdfInvalid("`dependencies` in the header of the UDF is a list of texts.")
    for entry in required:
        _check_requirement(entry, have)
    python = told.get("requires-python")
    if python is not None and not _fits(f"python{python}", version):
        raise UdfInvalid(f"The UDF requires Python {python}, and this one is {version}.")


def asked_environment(code: str) -> str | None:
    """Return the environment that the header of a code names, if it does.

    Raises:
        UdfInvalid: it cannot be read, or `[tool.terrazzo]` has what nobody knows.
    """
    told = _ours(code)
    unknown = [key for key in told if key not in _OURS]
    if unknown:
        raise UdfInvalid(
            f"`[tool.terrazzo]` in the header of the UDF knows no {unknown[0][:100]!r}."
            f"{suggest(unknown[0][:100], _OURS)} It knows {', '.join(_OURS)}."
        )
    name = told.get("environment")
    if name is not None and not isinstance(name, str):
        raise UdfInvalid("`environment` in the header of the UDF is a text.")
    return name


def _ours(code: str) -> dict[str, Any]:
    """Return the table `[tool.terrazzo]` of the header of a code."""
    told = _header(code)
    for key in ("tool", "terrazzo"):
        told = told.get(key, {})
        if not isinstance(told, dict):
            raise UdfInvalid(f"`{key}` in the header of the UDF is a table.")
    return told


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
    told = _ours(code).get("result", {})
    if not isinstance(told, dict):
        raise UdfInvalid("`result` in the header of the UDF is a table.")
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
