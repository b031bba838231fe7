"""Annotations that carry openEO JSON schemas: `x: NumberOrNull` is type and schema in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from terrazzo.cube import Cube, Number, Stack


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """The openEO JSON schema of a parameter or return value."""

    json: Any
    """A schema, or a list of alternatives."""
    checked: Any = None
    """What arguments must match where that is less, because the process itself says what becomes
    of the others; None where it is all of it."""


class Callback(Protocol):
    """A callback compiled once per plan: called by keyword, safe to call from many threads."""

    def __call__(self, **arguments: Any) -> Any:
        """Return pixels for pixels, pixels or a stack for a stack, a cube for a cube."""


_NUMBER = {"type": ["number", "null"]}
_BOOLEAN = {"type": ["boolean", "null"]}
_ANYTHING = {"description": "Any data type."}


def callback_schema(*parameters: tuple[str, Any]) -> dict[str, Any]:
    """Return the schema of a process-graph argument whose callback takes these parameters."""
    listed = [{"name": name, "schema": schema} for name, schema in parameters]
    listed.append({"name": "context", "schema": _ANYTHING, "optional": True, "default": None})
    return {"type": "object", "subtype": "process-graph", "parameters": listed}


NumberOrNull = Annotated[Number, Schema(_NUMBER)]
BooleanOrNull = Annotated[Number, Schema(_BOOLEAN)]
Numbers = Annotated[Stack, Schema({"type": "array", "items": _NUMBER})]
Booleans = Annotated[Stack, Schema({"type": "array", "items": _BOOLEAN})]
Anything = Annotated[Any, Schema(_ANYTHING)]
Context = Annotated[Any, Schema(_ANYTHING)]
AnyCube = Annotated[Cube, Schema({"type": "object", "subtype": "datacube"})]
RasterCube = Annotated[
    Cube,
    Schema(
        {
            "type": "object",
            "subtype": "datacube",
            "dimensions": [{"type": "spatial", "axis": ["x", "y"]}],
        }
    ),
]
