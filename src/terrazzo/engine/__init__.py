"""The engine: infer what a graph gives, plan it on a grid, evaluate it window by window."""

from terrazzo.engine.bound import Bound, Inference, Opener
from terrazzo.engine.demand import Cost, check_memory, cost, demand, read_version
from terrazzo.engine.evaluate import evaluate
from terrazzo.engine.infer import infer, mistakes, settle
from terrazzo.engine.plan import (
    Plan,
    check_extent,
    labels_read,
    make_plan,
    pending_stages,
    with_window,
)
from terrazzo.engine.steps import Step

__all__ = [
    "Bound",
    "Cost",
    "Inference",
    "Opener",
    "Plan",
    "Step",
    "check_extent",
    "check_memory",
    "cost",
    "demand",
    "evaluate",
    "infer",
    "labels_read",
    "make_plan",
    "mistakes",
    "pending_stages",
    "read_version",
    "settle",
    "with_window",
]
