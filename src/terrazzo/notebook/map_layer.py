"""A layer of a map, as it is held in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from terrazzo.errors import ArgumentInvalid
from terrazzo.notebook.map_looks import Colors, Stretch, look_of
from terrazzo.processes.labels import instant_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.notebook.map_screens import Screen


class Holder(Protocol):
    """The map that a layer is on."""

    def layer_state(self, key: str) -> dict[str, Any]:
        """Return the state of a layer."""

    def change_layer(self, key: str, members: Mapping[str, Any]) -> None:
        """Change members of it."""

    def remove(self, *layers: Any) -> None:
        """Take layers off the map."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Where the pixels of a layer are computed, and what is known of them."""

    screen: Screen
    """Computes them."""
    id: str
    """What `screen` calls it."""
    graph: Mapping[str, Any] = field(repr=False)
    """Nodes by name."""
    about: Mapping[str, Any] = field(repr=False)
    """What `screen` says of it."""


class MapLayer:
    """A layer of a map; what is set here is seen at once."""

    def __init__(self, holder: Holder, key: str, opened: Opened | None) -> None:
        self._holder = holder
        self.key = key
        self.opened = opened

    @override
    def __repr__(self) -> str:
        state = self._holder.layer_state(self.key)
        return f"<layer {state['name']!r} ({state['kind']}), opacity {state['opacity']:g}>"

    @property
    def name(self) -> str:
        """What the list of layers calls it."""
        return str(self._holder.layer_state(self.key)["name"])

    @name.setter
    def name(self, name: str) -> None:
        self._holder.change_layer(self.key, {"name": str(name)})

    @property
    def opacity(self) -> float:
        """From 0, not seen, to 1."""
        return float(self._holder.layer_state(self.key)["opacity"])

    @opacity.setter
    def opacity(self, opacity: float) -> None:
        self._holder.change_layer(self.key, {"opacity": checked_opacity(opacity)})

    @property
    def visible(self) -> bool:
        """Whether it is shown."""
        return bool(self._holder.layer_state(self.key)["visible"])

    @visible.setter
    def visible(self, visible: bool) -> None:
        self._holder.change_layer(self.key, {"visible": bool(visible)})

    @property
    def look(self) -> dict[str, Any]:
        """Date, bands, stretch and colours, as screens say it; empty for what is not computed."""
        return dict(self._holder.layer_state(self.key).get("look", {}))

    @property
    def dates(self) -> tuple[str, ...]:
        """The dates that it has."""
        return tuple(self.opened.about["dates"]) if self.opened else ()

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that it has."""
        told = self.opened.about["bands"] if self.opened else ()
        return tuple(str(band["name"]) for band in told if band["name"])

    def show(
        self,
        *,
        time: object = None,
        bands: str | Sequence[str] | None = None,
        stretch: Stretch | None = None,
        gamma: float | None = None,
        colors: Colors | None = None,
    ) -> None:
        """Show it otherwise; what is None stays as it is.

        Args:
            time: date.
            bands: see `Map.add`, as the others.
            stretch: see `Map.add`.
            gamma: see `Map.add`.
            colors: see `Map.add`.

        Raises:
            ArgumentInvalid: it has no pixels to colour, or cannot be shown so.
        """
        if self.opened is None:
            raise ArgumentInvalid(f"{self.name!r} is no raster that can be shown otherwise.")
        changed = look_of(time=time, bands=bands, stretch=stretch, gamma=gamma, colors=colors)
        changed = with_date(changed, self.dates)
        self._holder.change_layer(self.key, {"look": {**self.look, **changed}})

    def remove(self) -> None:
        """Take it off the map."""
        self._holder.remove(self)


def with_date(look: dict[str, Any], dates: Sequence[str]) -> dict[str, Any]:
    """Return a look with its date as the layer writes it: `2018-07` means the first in July.

    Raises:
        ArgumentInvalid: the layer has no such date.
    """
    wanted = look.get("time")
    if wanted is None or wanted in dates:
        return look
    found = next((date for date in dates if date.startswith(str(wanted))), None)
    if found is None:
        there = f"dates from {dates[0]} to {dates[-1]}" if dates else "no dates"
        raise ArgumentInvalid(f"The layer has no date {wanted!r}; it has {there}.")
    return {**look, "time": found}


def date_for(dates: Sequence[str], time: str) -> str | None:
    """Return the date that a layer shows while the map shows `time`.

    It is that one, else the last before it, else the first; None where either is no instant but the
    name of a period, which has no place among the others.
    """
    if time in dates:
        return time
    moment, instants = instant_of(time), [instant_of(date) for date in dates]
    if moment is None or not instants or None in instants:
        return None
    before = [n for n, one in enumerate(instants) if one is not None and one <= moment]
    return dates[before[-1] if before else 0]


def checked_opacity(opacity: float) -> float:
    """Return an opacity.

    Raises:
        ArgumentInvalid: it is none.
    """
    if not 0.0 <= opacity <= 1.0:
        raise ArgumentInvalid(f"`opacity` is from 0, not seen, to 1, not {opacity!r}.")
    return float(opacity)
