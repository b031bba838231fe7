"""Process graphs over the small collection."""

from __future__ import annotations

from typing import Any

from tests.server.small import COLLECTION


def node(process: str, /, *, result: bool = False, **arguments: Any) -> dict[str, Any]:
    """Return a node of a process graph."""
    return {"process_id": process, "arguments": arguments} | ({"result": True} if result else {})


def ref(name: str) -> dict[str, str]:
    """Return an argument that is the result of another node."""
    return {"from_node": name}


def load(**arguments: Any) -> dict[str, Any]:
    """Return a node that loads the small collection."""
    whole = {"spatial_extent": None, "temporal_extent": None}
    return node("load_collection", **{"id": COLLECTION, **whole, **arguments})


def process(**nodes: Any) -> dict[str, Any]:
    """Return a body of POST /result."""
    return {"process": {"process_graph": nodes}}


ADDED = process(add=node("add", x=1, y=2, result=True))
"""Three."""
