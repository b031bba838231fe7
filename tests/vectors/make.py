"""Writes the own vectors: `python -m tests.vectors.make`. Oracles compute what they return."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from tests.vectors import code, loading, resampling, seasons, shapes, structure, zones

FOLDER = Path(__file__).parent / "files"
CATALOGUE = Path(__file__).parent / "catalogue"
"""The vectors that need the collection of `loading.collect`."""
CASES = {
    name: cases
    for module in (code, loading, resampling, seasons, shapes, structure, zones)
    for name, cases in module.CASES.items()
}
"""The own vectors of each process."""


def document(name: str) -> dict[str, Any]:
    """Return the file of a process, its results computed by the oracle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, as they should
        tests = [case.vector() for case in CASES[name].cases]
    return {"id": name, "oracle": CASES[name].oracle, "tests": tests}


def file_of(name: str) -> Path:
    """Return where the vectors of a process are."""
    return (CATALOGUE if name in loading.CASES else FOLDER) / f"{name}.json"


def main() -> None:
    """Write all files."""
    for folder in (FOLDER, CATALOGUE):
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.json"):
            old.unlink()
    for name in sorted(CASES):
        file_of(name).write_text(json.dumps(document(name)) + "\n")


if __name__ == "__main__":
    main()
