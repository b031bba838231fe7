"""Mistakes in process graphs: random changes of valid ones, for tests of what is refused."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

Path = tuple[str | int, ...]

NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    -0.0,
    1e-9,
    1e300,
    -1e300,
    1e308 * 10,
    -1e308 * 10,
    float("nan"),
    10**9,
    -(10**9),
    10**30,
    10**400,
    "",
    " ",
    "x",
    "t",
    "bands",
    "red",
    "\x00",
    "\u202e\ud83d\ude00\u0301",
    "\udfff",
    "a" * 5000,
    "../../etc/passwd",
    "2020-13-45",
    "2020-02-30T25:61:61Z",
    "0000-00-00",
    "9999-12-31T23:59:59-23:59",
    "EPSG:0",
    "+proj=pipeline +step +init=/etc/passwd:1",
    [],
    [[]],
    [None],
    [None, None],
    [1, "a", None, [2]],
    [[1, 2], [3]],
    ["2020-01-01"],
    ["2021-01-01", "2020-01-01"],
    {},
    {"": None},
    {"type": "FeatureCollection"},
    {"type": "FeatureCollection", "features": [1, None, "x"]},
    {"type": "Feature", "geometry": {"type": "Polygon"}, "properties": [1]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1e999, 1], [1, float("nan")], [0, 0]]]},
    {"type": "Point", "coordinates": "here"},
    {"type": "Point", "coordinates": [15.0, 45.1], "crs": {"type": "name", "properties": [1]}},
    {"west": 1e308, "south": -1e308, "east": -1e308, "north": 1e308, "crs": 32633},
    {"west": 15, "south": 45, "east": 16, "north": 46, "crs": "EPSG:4326"},
    {"west": 15, "south": 45, "east": 16, "north": 46, "crs": "/etc/passwd"},
    {"from_node": "load"},
    {"from_node": "nowhere"},
    {"from_node": 1},
    {"from_parameter": "x"},
    {"from_parameter": "data"},
    {"process_graph": {}},
    {"process_graph": {"a": {"process_id": "pi", "arguments": {}, "result": True}}},
    {
        "process_graph": {
            "a": {
                "process_id": "array_create",
                "arguments": {"data": ["x", None], "repeat": 3},
                "result": True,
            }
        }
    },
)
"""Values that no argument expects, or that it expects elsewhere."""


def mutated(graph: dict[str, Any], random: Random, *, mistakes: int = 1) -> dict[str, Any]:
    """Return a copy of a graph with some random mistakes in it.

    A mistake replaces, removes or adds a value anywhere, swaps two of them, or renames a key.
    """
    changed = copy.deepcopy(graph)
    for _ in range(mistakes):
        places = list(_places(changed))
        if not places:
            break
        _spoil(changed, random.choice(places), places, random)
    return changed


def _places(value: Any, at: Path = ()) -> Iterator[Path]:
    """Yield the way to every value inside a JSON value."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value[:50])
    for key, inner in entries:
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _spoil(graph: Any, place: Path, places: Sequence[Path], random: Random) -> None:
    holder, key = _at(graph, place[:-1]), place[-1]
    kind = random.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(key, str):
        holder[random.choice(("", "x", key + "s", "data", "result"))] = holder.pop(key)
    elif kind == 2:  # noqa: PLR2004 - the kinds are counted
        holder[key] = copy.deepcopy(_at(graph, random.choice(places)))
    elif kind == 3:  # noqa: PLR2004
        holder[key] = [holder[key]]
    else:
        holder[key] = copy.deepcopy(random.choice(NASTY))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value
