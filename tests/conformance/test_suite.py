"""openeo-test-suite, the parts that a back-end can be held to, against the running server."""

from __future__ import annotations

from collections import Counter
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

NOT_SENT = "HTTP JSON APIs don't support"
"""What the suite says of vectors with NaN or infinity, which it does not send."""
WRONG = Counter({"any": 1, "count": 2})
"""Vectors that contradict the specification of their process; `errata.json` tells how."""
NOT_IN_JSON = Counter(
    {"sqrt": 1, "divide": 2, "artanh": 1, "mod": 2, "arcosh": 2, "arcsin": 1, "ln": 2, "arccos": 1}
)
"""Vectors whose result is NaN or infinite: JSON has neither, so the answer is null."""


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
    assert "Some other unexpected error code. 200" in said.failed[CONTRADICTS]
    assert (len(said.passed), said.skipped) == (41, {})


def test_descriptions_of_processes(run: Run) -> None:
    said = run("processes/metadata", "-m", "not optional")

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

    sent = {name: why for name, why in said.failed.items() if NOT_SENT not in why}
    assert Counter(name.split("[")[1].split("-")[0] for name in sent) == WRONG + NOT_IN_JSON
    assert (len(said.passed), len(said.failed) - len(sent), len(said.skipped)) == (317, 130, 48)
