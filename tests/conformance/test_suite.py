"""openeo-test-suite, the parts that a back-end can be held to, against the running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conformance import suite
from tests.conformance.material import SENTINEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.conftest import Served
    from tests.conformance.suite import Verdict

    Run = Callable[..., Verdict]

pytestmark = pytest.mark.slow

CONTRADICTS = "test_POST_result"
"""It wants status 201 of POST /result, where the API has 200."""


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, shared: Path, served: Served
) -> Callable[..., Verdict]:
    folder = tmp_path_factory.mktemp("suite")
    suite.lay_out(folder, shared)
    python = suite.installed()

    def run(part: str, *options: str) -> Verdict:
        return suite.run(part, python, folder, served.url, *options)

    return run


def test_general(run: Run) -> None:
    said = run("general")

    assert set(said.failed) == {CONTRADICTS}, said.failed
    assert "assert 'Some other unexpected error code. 200" in said.failed[CONTRADICTS]
    assert (len(said.passed), said.skipped) == (41, {})


def test_descriptions_of_processes(run: Run) -> None:
    said = run("processes/metadata", "-m", "not optional")

    assert said.failed == {}
    assert (len(said.passed), said.skipped) == (118, {})


def test_words_in_descriptions_of_processes(run: Run) -> None:
    said = run("processes/metadata", "-m", "optional")

    assert said.failed == {}
    assert (len(said.passed), said.skipped) == (118, {})


def test_workflows(run: Run) -> None:
    said = run("workflows", "--s2-collection", SENTINEL)

    assert said.failed == {}
    assert (len(said.passed), said.skipped) == (25, {})


def test_collections(run: Run) -> None:
    said = run("collections")

    assert said.failed == {}
    assert (len(said.passed), said.skipped) == (5, {})


def test_vectors_over_http(run: Run) -> None:
    said = run("processes/processing", "--runner=http", "--process-levels=L1,L2")

    assert said.failed == {}
