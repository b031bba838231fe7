"""Time-lapses: a view of a layer, date after date, as a film."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.drivers.screen.asked import Asked, wrong
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.screen.pictures import Picture, check_size, view_over
from terrazzo.drivers.tile import shown
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.files import planes
from terrazzo.storage.writers.film import FILMS, check_film, labelled, write_film
from terrazzo.storage.writers.picture import to_rgba

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.drivers.tile import View
    from terrazzo.geo.grid import Grid
    from terrazzo.progress import Progress

MOST_FRAMES: Final = 366
MOST_SIDE: Final = 2048
MOST_PIXELS: Final = 2_097_152
"""Of one frame, such as 1920 x 1080."""
MOST_IN_ALL: Final = 200_000_000
_WIDTH: Final = 640
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:")
_LEAST_SECONDS, _MOST_SECONDS = 0.02, 60.0


def timelapse(layer: Layer, given: Mapping[str, Any], progress: Progress) -> Picture:
    """Return a film of a view, its date written on each picture.

    Colours are the same in all pictures: a stretch that depends on the view is found on the date
    of the look.

    Args:
        layer: the layer.
        given: `bounds` in `crs`, `width` and `height` in pixels (without `height` that of the
            bounds), `dates`, labels, all if left out; `look`; `format`, gif, mp4 or webm;
            `seconds_per_frame`.
        progress: told about every frame.

    Raises:
        ArgumentInvalid, SpatialExtentEmpty, BandNotFound, LabelNotAvailable: a parameter is not as
            it must be.
        FilmUnavailable: the format needs a library that is not installed.
        PlanTooLarge: a frame would take more memory than a tile may.
    """
    names = (
        "bounds", "crs", "width", "height", "dates", "look", "format", "seconds_per_frame",
    )  # fmt: skip
    asked = Asked.of(given, names)
    form = asked.chosen("format", tuple(FILMS), "gif")
    seconds = asked.number("seconds_per_frame", 0.5)
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise wrong("seconds_per_frame", seconds, f"from {_LEAST_SECONDS} to {_MOST_SECONDS:g}")
    check_film(form)
    grid = _sized(asked).view(layer.tiles.grid.crs, most=MOST_SIDE)
    check_size(grid, MOST_PIXELS)
    dates = _dates(layer, asked)
    if len(dates) * grid.window.pixels > MOST_IN_ALL:
        raise ArgumentInvalid(
            f"A film of {len(dates)} dates with {grid.width} x {grid.height} pixels has more than "
            f"{MOST_IN_ALL:,} pixels in all. Choose fewer dates, or a smaller width."
        )
    look = Look.of(asked.mapping("look"))
    with progress:
        progress.start(len(dates), "frames")
        view = view_over(layer, grid, look, progress)
        film = write_film(_frames(layer, grid, view, dates, progress), form, seconds)
    return Picture(film, FILMS[form], layer.metres(grid, grid.window))


def _sized(asked: Asked) -> Asked:
    """Return the question with a height, that of its bounds where it has none."""
    corners = asked.given.get("bounds")
    width = asked.whole("width", 1, MOST_SIDE, _WIDTH)
    height = asked.given.get("height")
    if height is None and isinstance(corners, list | tuple) and len(corners) == 4:  # noqa: PLR2004 - edges
        numbers = [one for one in corners if isinstance(one, int | float)]
        if len(numbers) == len(corners) and numbers[2] > numbers[0]:
            share = (numbers[3] - numbers[1]) / (numbers[2] - numbers[0])
            height = max(1, min(round(width * share), MOST_SIDE)) if np.isfinite(share) else None
    return Asked({**asked.given, "width": width, "height": height})


def _dates(layer: Layer, asked: Asked) -> list[str]:
    if not layer.dates:
        raise ArgumentInvalid("This layer has no dates, so no time-lapse. Ask for a picture.")
    dates = list(asked.texts("dates", MOST_FRAMES)) or layer.dates
    if len(dates) > MOST_FRAMES:
        raise ArgumentInvalid(
            f"The layer has {len(dates)} dates, and a film may have {MOST_FRAMES}. Choose `dates`."
        )
    for date in dates:
        layer.shown_date(Look(time=date))
    return dates


def _frames(
    layer: Layer, grid: Grid, view: View, dates: list[str], progress: Progress
) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    for date in dates:
        here = replace(view, time=date)
        cube = layer.tiles.over(grid, view=here, progress=progress)
        if cube is None:
            rgba = np.zeros((grid.height, grid.width, 4), np.uint8)
        else:
            values, valid = planes(shown(cube, here))
            rgba = to_rgba(values[0], valid[0], here.style)
        yield labelled(rgba, _written(date))
        progress.advance()


def _written(label: str) -> str:
    """Return what of a label is written on a picture: the day of an instant, else all of it."""
    return label.partition("T")[0] if _INSTANT.match(label) else label
