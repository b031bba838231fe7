"""Legends: the colours of a look and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.storage.writers.colors import Classes, Stops, colormap, colormap_names

if TYPE_CHECKING:
    from terrazzo.drivers.tile import View

COLORS: Final = 17
"""Colours of a colour bar, equally spaced."""
_LAST: Final = 255


def legend(view: View) -> dict[str, Any]:
    """Return the legend of a view, as JSON values.

    Returns:
        `kind`: `classes` with value, colour and label of each; `rgb` with bands and their ranges;
        or `range` with its ends, gamma and colours between, those of stops with their values.
    """
    style = view.style
    ranges = [list(one) for one in style.stretch]
    if len(view.bands) > 1:
        ranges = ranges * len(view.bands) if len(ranges) == 1 else ranges
        return {"kind": "rgb", "bands": list(view.bands), "ranges": ranges, "gamma": style.gamma}
    if isinstance(style.colormap, Classes):
        classes = style.colormap.of
        listed = [{"value": one.value, "color": one.color, "label": one.label} for one in classes]
        return {"kind": "classes", "classes": listed}
    if isinstance(style.colormap, Stops):
        stops = [list(one) for one in style.colormap.at]
        low, high = stops[0][0], stops[-1][0]
        return {
            "kind": "range", "min": low, "max": high, "gamma": 1.0, "stops": stops,
            "colors": _bar_of_stops(style.colormap),
        }  # fmt: skip
    low, high = style.stretch[0] if style.stretch else (0.0, float(_LAST))
    told = {"kind": "range", "min": low, "max": high, "gamma": style.gamma}
    return told | {"name": style.colormap, "colors": bar(style.colormap, style.gamma)}


def bar(name: str, gamma: float = 1.0) -> list[str]:
    """Return the colours of a colour map at equal steps of the value.

    Raises:
        ArgumentInvalid: there is no such colour map.
    """
    places = np.linspace(0.0, 1.0, COLORS) ** (1.0 / gamma)
    return [_text(colour) for colour in colormap(name)[np.round(places * _LAST).astype(int)]]


def colormaps() -> dict[str, list[str]]:
    """Return the colours of all colour maps by name, but for the reversed ones."""
    return {name: bar(name) for name in colormap_names() if not name.endswith("_r")}


def _bar_of_stops(stops: Stops) -> list[str]:
    values = np.array([value for value, _ in stops.at])
    rgb = np.array([list(bytes.fromhex(colour[1:])) for _, colour in stops.at], np.float64)
    # Between -1/2 and 1/2 first: ends near the largest number span more than there is.
    _, exponent = np.frexp(np.abs(values).max())
    values = np.ldexp(values, -1 - exponent)
    places = (values - values[0]) / (values[-1] - values[0])
    at = np.linspace(0.0, 1.0, COLORS)
    found = np.stack([np.interp(at, places, rgb[:, band]) for band in range(3)], axis=-1)
    return [_text(colour) for colour in np.round(found).astype(np.uint8)]


def _text(colour: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    return f"#{bytes(colour[:3]).hex()}"
