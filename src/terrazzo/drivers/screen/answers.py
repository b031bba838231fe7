"""One way in for all that screens ask: a method by its name, parameters as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.screen.about import about
from terrazzo.drivers.screen.asked import Asked
from terrazzo.drivers.screen.legend import colormaps, legend
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.screen.pictures import Picture, picture, tile
from terrazzo.drivers.screen.places import places
from terrazzo.drivers.screen.profile import profile
from terrazzo.drivers.screen.statistics import statistics
from terrazzo.drivers.screen.timelapse import timelapse
from terrazzo.drivers.screen.transect import transect
from terrazzo.drivers.screen.values import values
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.progress import Progress, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from terrazzo.drivers.screen.layer import Layer

    Answer = dict[str, Any] | Picture
    Method = Callable[[Layer, Mapping[str, Any], Progress], Answer]


def _about(layer: Layer, given: Mapping[str, Any], _: Progress) -> Answer:
    Asked.of(given, ())
    return about(layer)


def _legend(layer: Layer, given: Mapping[str, Any], _: Progress) -> Answer:
    return legend(layer.view(Look.of(Asked.of(given, ("look",)).mapping("look"))))


METHODS: Final[Mapping[str, Method]] = {
    "about": _about,
    "legend": _legend,
    "tile": lambda layer, given, _: tile(layer, given),
    "statistics": statistics,
    "values": values,
    "profile": profile,
    "transect": transect,
    "timelapse": timelapse,
    "picture": picture,
}
"""What screens may ask of a layer."""


def _colormaps(given: Mapping[str, Any]) -> dict[str, Any]:
    Asked.of(given, ())
    return colormaps()


WITHOUT_LAYER: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "places": places,
    "colormaps": _colormaps,
}
"""What screens ask of no layer."""


def answer(
    layer: Layer | None, method: str, given: Mapping[str, Any], progress: Progress | None = None
) -> Answer:
    """Answer what a screen asks of a layer.

    Args:
        layer: the layer; None for what is asked of none.
        method: one of `METHODS`, or of `WITHOUT_LAYER`.
        given: its parameters, JSON values.
        progress: is told how far it is, and stops it by raising `Cancelled`.

    Returns:
        JSON values, or an encoded picture.

    Raises:
        TerrazzoError: says what is wrong with the parameters, or why there is no answer.
        Cancelled: `progress` stopped it.
    """
    if method in WITHOUT_LAYER:
        return WITHOUT_LAYER[method](given)
    if layer is None or method not in METHODS:
        known = (*METHODS, *WITHOUT_LAYER)
        raise ArgumentInvalid(
            f"Screens cannot ask {method[:40]!r}.{suggest(method[:40], known)} They ask "
            f"{', '.join(METHODS)} of a layer, and {', '.join(WITHOUT_LAYER)} of none."
        )
    progress = progress or Progress()
    with watched(progress):
        return METHODS[method](layer, given, progress)
