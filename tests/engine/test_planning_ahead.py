"""What sources are told to fetch ahead is what the window is then read from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from terrazzo.cube import PrefetchSource
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.demand import prefetch
from terrazzo.geo.grid import Window
from terrazzo.graph import parse
from terrazzo.processes import SPECS
from terrazzo.testing.graphs import collections, graphs
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource


@dataclass(frozen=True)
class Told(SyntheticSource):
    """A collection that remembers what it was told and asked."""

    told: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def prefetch(self, grid: Any, window: Window, labels: Any, method: str) -> None:
        self.told.append((grid, window, dict(labels), method))

    @override
    def read(self, grid: Any, window: Window, labels: Any, method: str) -> Any:
        self.asked.append((grid, window, dict(labels), method))
        return super().read(grid, window, labels, method)


def opener() -> SyntheticOpener:
    known = collections().sources
    return SyntheticOpener(
        {name: Told(one.grid, one.times, gaps=one.gaps) for name, one in known.items()}
    )


@given(graph=graphs(), row=st.integers(-5, 50), col=st.integers(-5, 60))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_source_is_told_exactly_what_it_is_asked_for_afterwards(graph, row, col):
    plan = make_plan(infer(parse(graph, specs=SPECS), opener()))
    window = Window(plan.window.row + row, plan.window.col + col, 12, 9)

    prefetch(plan, window)
    evaluate(plan, window)

    for step in plan.steps:
        if isinstance(step.bound.source, Told):
            assert step.bound.source.told == step.bound.source.asked


def test_a_source_that_does_not_want_to_know_is_left_alone():
    load = {"id": "fine", "spatial_extent": None, "temporal_extent": None}
    nodes = {"a": {"process_id": "load_collection", "arguments": load, "result": True}}
    known = collections()
    plan = make_plan(infer(parse(nodes, specs=SPECS), known))

    prefetch(plan, replace(plan.window, height=10))

    assert not isinstance(known.sources["fine"], PrefetchSource)
    assert known.sources["fine"].reads == []
