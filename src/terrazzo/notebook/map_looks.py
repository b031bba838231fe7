"""How a layer is shown, as people write it in Python, as screens say it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from terrazzo.drivers.screen.look import KINDS, Look
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time

Stretch = str | tuple[float, float] | Sequence[tuple[float, float]] | Mapping[str, Any]
"""`percentile`, `sd` or `minmax` of what is in view; (low, high), one for each of three bands, or
as screens say it: `{"kind": "percentile", "low": 1, "high": 99}`."""
Colors = str | Sequence[Any] | Mapping[Any, Any]
"""Name of a colour map; (value, "#rrggbb") pairs, or colours to spread over the stretch; for
classes `{value: "#rrggbb"}` or `{value: ("#rrggbb", label)}`."""
_AUTOMATIC: Final = "percentile"
_PAIR: Final = 2
_FEWEST: Final = 2


def look_of(
    *,
    time: object = None,
    bands: str | Sequence[str] | None = None,
    stretch: Stretch | None = None,
    gamma: float | None = None,
    colors: Colors | None = None,
) -> dict[str, Any]:
    """Return a look as screens say it; what is None is left out.

    Raises:
        ArgumentInvalid: it is no look.
    """
    look: dict[str, Any] = {}
    if time is not None:
        look["time"] = _time(time)
    if bands is not None:
        look["bands"] = [bands] if isinstance(bands, str) else list(bands)
    if stretch is not None or gamma is not None:
        look["stretch"] = _stretch(_AUTOMATIC if stretch is None else stretch)
        if gamma is not None:
            look["stretch"]["gamma"] = gamma
    if colors is not None:
        look["colors"] = _colors(colors, look.get("stretch", {}))
    Look.of(look)
    return look


def _time(time: object) -> str:
    if isinstance(time, str):
        return time
    if hasattr(time, "to_pydatetime"):
        time = time.to_pydatetime()
    if isinstance(time, dt.datetime):
        aware = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        return format_time(aware)
    if isinstance(time, dt.date):
        return time.isoformat()
    raise ArgumentInvalid(f"`time` is a date or its text, such as '2018-07-01', not {time!r:.60}.")


def _stretch(stretch: Stretch) -> dict[str, Any]:
    if isinstance(stretch, str):
        if stretch not in KINDS[1:]:
            raise ArgumentInvalid(
                f"There is no stretch {stretch!r:.40}. Give {', '.join(KINDS[1:])}, or (low, high)."
            )
        return {"kind": stretch}
    if isinstance(stretch, Mapping):
        return dict(stretch)
    listed: list[Any] = list(stretch)
    if listed and all(isinstance(one, list | tuple) for one in listed):
        return {"kind": "range", "per_band": [list(one) for one in listed]}
    if len(listed) != _PAIR:
        raise ArgumentInvalid(
            f"`stretch` is {', '.join(KINDS[1:])}, (low, high) or one such pair for each of three "
            f"bands, not {stretch!r:.80}."
        )
    return {"kind": "range", "low": listed[0], "high": listed[1]}


def _colors(colors: Colors, stretch: Mapping[str, Any]) -> Any:
    if isinstance(colors, str):
        return colors
    if isinstance(colors, Mapping):
        return colors if "classes" in colors else {"classes": _classes(colors)}
    listed = list(colors)
    if not all(isinstance(one, str) for one in listed):
        return [list(one) for one in listed]
    low, high = stretch.get("low"), stretch.get("high")
    if stretch.get("kind") != "range" or low is None or high is None or len(listed) < _FEWEST:
        raise ArgumentInvalid(
            "Colours without values are spread over a stretch: give two or more, and "
            "stretch=(low, high); or give each its value, [(0.0, '#ffffff'), ...]."
        )
    step = (high - low) / (len(listed) - 1)
    return [[low + number * step, colour] for number, colour in enumerate(listed)]


def _classes(given: Mapping[Any, Any]) -> list[dict[str, Any]]:
    classes = []
    for value, one in given.items():
        color, label = (one, "") if isinstance(one, str) else one
        classes.append({"value": value, "color": color, "label": label or str(value)})
    return classes
