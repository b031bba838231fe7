"""Executors: who computes the blocks of a run, and how a run gets through all of them."""

from terrazzo.drivers.executors.opening import opened
from terrazzo.drivers.executors.rounds import ATTEMPTS, computed
from terrazzo.drivers.executors.stints import Parts, Stint
from terrazzo.drivers.executors.work import Blockwise, Executor, Made, Sent, describe_run

__all__ = [
    "ATTEMPTS",
    "Blockwise",
    "Executor",
    "Made",
    "Parts",
    "Sent",
    "Stint",
    "computed",
    "describe_run",
    "opened",
]
