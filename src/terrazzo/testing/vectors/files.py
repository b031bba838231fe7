"""Reads files of test vectors: one process each, `{"id": ..., "tests": [...]}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Vector = Mapping[str, Any]
"""One vector, JSON: `arguments`, and `returns`, `throws` or both; `index`, `delta`, `required`."""


class VectorsUnreadable(Exception):
    """A path has no vectors, or a file of them cannot be read; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class VectorFile:
    """The vectors of one process."""

    process: str
    """Id of the process."""
    vectors: tuple[Vector, ...]
    """Each with its `index`: its position in the file unless it says another one."""
    oracle: str = ""
    """How the expected values of own vectors were computed; empty for official ones."""


def read_vectors(path: Path, names: Sequence[str] = ()) -> tuple[VectorFile, ...]:
    """Read the vectors of a folder of `NAME.json`, or of one such file.

    Args:
        path: the folder or file.
        names: only these processes; all by default.

    Raises:
        VectorsUnreadable: there are no vectors, or none of a process that was asked for, or a
            file is no JSON or has another form.
    """
    if path.is_dir():
        found = {file.stem: file for file in sorted(path.glob("*.json"))}
    elif path.is_file():
        found = {path.stem: path}
    else:
        raise VectorsUnreadable(f"{path} is neither a folder of vectors nor a file of them.")
    unknown = [name for name in names if name not in found]
    if unknown:
        raise VectorsUnreadable(f"{path} has no vectors of {', '.join(unknown)}.")
    if not found:
        raise VectorsUnreadable(
            f"{path} has no vectors. Give a folder of NAME.json, one for each process."
        )
    return tuple(_read(file) for name, file in found.items() if not names or name in names)


def _read(path: Path) -> VectorFile:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise VectorsUnreadable(
            f"{path} is no JSON ({error}). A checkout of openeo-processes has JSON5 with "
            "references between files: write it as JSON with the references resolved."
        ) from error
    tests = document.get("tests") if isinstance(document, dict) else None
    if not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
        raise VectorsUnreadable(
            f'{path} has no vectors: a file is {{"id": "NAME", "tests": [{{"arguments": ..., '
            '"returns": ...}]}.'
        )
    if not all(isinstance(test.get("index", 0), int) for test in tests):
        raise VectorsUnreadable(f"{path}: the index of a vector is an integer.")
    vectors = tuple({"index": position, **test} for position, test in enumerate(tests))
    return VectorFile(str(document.get("id", path.stem)), vectors, str(document.get("oracle", "")))
