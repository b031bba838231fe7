"""What has no official vectors has own ones; independent oracles say what they return."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.grass.oracle import PROCESSES as OF_GRASS
from tests.storage.served import serving
from tests.vectors import loading
from tests.vectors.make import CASES, document, file_of

from terrazzo.processes import PROCESSES
from terrazzo.testing.vectors import read_vectors, run_vector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.engine.bound import Opener


def near(value: Any) -> Any:
    """Return JSON in which numbers are compared with a tolerance: libraries differ in the end."""
    if isinstance(value, dict):
        return {key: near(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [near(entry) for entry in value]
    is_number = isinstance(value, float) and not isinstance(value, bool)
    return pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True) if is_number else value


@pytest.fixture(scope="module")
def opener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Opener]]:
    """The host that serves the collection of `loading`, and what opens it."""
    workspace = loading.collect(tmp_path_factory.mktemp("home"))
    with serving(workspace.home / "site") as server:
        yield server.host, replace(workspace, hosts=(server.host,)).opener()


@pytest.mark.parametrize("name", sorted(loading.CASES))
def test_loading_gives_what_the_oracle_computes(name: str, opener: tuple[str, Opener]) -> None:
    host, opens = opener
    vectors = json.loads(json.dumps(document(name)).replace(loading.HOST, host))["tests"]

    verdicts = {v["title"]: run_vector(name, v, opener=opens) for v in vectors}

    assert {title: v.text for title, v in verdicts.items() if not v.passed} == {}


@pytest.mark.parametrize("name", sorted(set(CASES) - set(loading.CASES)))
def test_engine_gives_what_the_oracle_computes(name: str) -> None:
    verdicts = {vector["title"]: run_vector(name, vector) for vector in document(name)["tests"]}

    assert {title: v.text for title, v in verdicts.items() if not v.passed} == {}


@pytest.mark.parametrize("name", sorted(CASES))
def test_files_hold_what_the_oracle_computes(name: str) -> None:
    written = json.loads(file_of(name).read_text())

    assert written == near(json.loads(json.dumps(document(name))))


def test_every_process_has_vectors(shared: Path) -> None:
    official = {file.process for file in read_vectors(shared / "openeo" / "vectors")}

    # Written by others for these, and not in the part of the official ones that is here.
    withheld = {"cummin", "cumproduct", "date_between", "drop_dimension", "is_nodata", "nan"}
    # GRASS itself says what is right, in tests/grass.
    assert set(PROCESSES) - official - set(CASES) - withheld == OF_GRASS
