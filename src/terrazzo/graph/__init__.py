"""The graph: openEO process graphs as immutable, typed, hashable DAGs. Does no I/O."""

from terrazzo.graph.build import SIDE_EFFECTS
from terrazzo.graph.digest import canonical, node_digest
from terrazzo.graph.model import (
    Callback,
    FrozenMap,
    Graph,
    Node,
    Parameter,
    Ref,
    Value,
    leaves,
    to_json,
)
from terrazzo.graph.parse import parse
from terrazzo.graph.schema import Mismatch, mismatches
from terrazzo.graph.spec import ParameterSpec, ProcessSpec, callback_parameters

__all__ = [
    "SIDE_EFFECTS",
    "Callback",
    "FrozenMap",
    "Graph",
    "Mismatch",
    "Node",
    "Parameter",
    "ParameterSpec",
    "ProcessSpec",
    "Ref",
    "Value",
    "callback_parameters",
    "canonical",
    "leaves",
    "mismatches",
    "node_digest",
    "parse",
    "to_json",
]
