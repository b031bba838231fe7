"""The state of a map's screen as plain JSON, and the changes that kernel and browser exchange.

Both keep a state of their own and send each other only what they have changed, so that somebody
who moves the map while a cell adds a layer loses neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

State = dict[str, Any]
Patch = dict[str, Any]
"""Members of a state with new values; of `layers` `{set: {key: members}, gone: [keys], order:
[keys]}`, where layers that the order does not name, because they are new, stay on top."""

MEMBERS: Final = ("view", "basemap", "swipe", "time", "extra")


def new_state(projection: str, basemap: str) -> State:
    """Return the state of a screen without layers."""
    return {
        "version": 1,
        "view": {"centre": [10.0, 30.0], "zoom": 1.5, "projection": projection},
        "basemap": basemap,
        "layers": [],
        "swipe": None,
        "time": None,
        "extra": {},
    }


def merged(state: Mapping[str, Any], patch: Mapping[str, Any]) -> State:
    """Return a state with a change; layers that it does not know are left alone.

    Args:
        state: as it was; not changed.
        patch: of the browser or of the kernel. What is not of its form is left out.
    """
    made = {**state, **{name: patch[name] for name in MEMBERS if name in patch}}
    told = patch.get("layers")
    if not isinstance(told, dict):
        return made
    layers = {layer["key"]: layer for layer in state["layers"]}
    for key, members in told.get("set", {}).items():
        if key in layers or "kind" in members:
            layers[key] = {**layers.get(key, {}), **members, "key": key}
    for key in told.get("gone", ()):
        layers.pop(key, None)
    order = [key for key in told.get("order", ()) if key in layers]
    order += [key for key in layers if key not in order]
    made["layers"] = [layers[key] for key in order]
    return made
