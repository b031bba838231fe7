"""The engine: infer what a graph gives, plan it on a grid, evaluate it window by window."""

from terrazzo.engine.demand import Cost, check_memory, cost, demand, read_version
from terrazzo.engine.evaluate import evaluate, evaluate_after
from terrazzo.engine.infer import Bound, Inference, Opener, infer
from terrazzo.engine.plan import Plan, make_plan, stage_plan, with_window
from terrazzo.engine.steps import Step

__all__ = [
    "Bound",
    "Cost",
    "Inference",
    "Opener",
    "Plan",
    "Step",
    "check_memory",
    "cost",
    "demand",
    "evaluate",
    "evaluate_after",
    "infer",
    "make_plan",
    "read_version",
    "stage_plan",
    "with_window",
]
