"""What screens ask is stopped as soon as nobody waits, and hostile views are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.small import EDGE, LEFT, PIXEL, TOP

from terrazzo.drivers import tile
from terrazzo.drivers.screen.answers import answer
from terrazzo.drivers.screen.pictures import Picture
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Cancelled, Stoppable
from terrazzo.storage.writers.colors import Class, Classes, Stops

if TYPE_CHECKING:
    from terrazzo.drivers.screen.layer import Layer

VIEW: dict[str, Any] = {
    "bounds": [LEFT, TOP - EDGE * PIXEL, LEFT + EDGE * PIXEL, TOP],
    "crs": "native",
    "width": EDGE,
    "height": EDGE,
}
ROWS = 70
"""Of a strip: the last one of 300 is shorter."""


class Few(Stoppable):
    """Has enough after some strips."""

    def __init__(self, most: int) -> None:
        self.left = most

    def check(self) -> None:
        self.stopped = self.left == 0
        super().check()
        self.left -= 1


@pytest.mark.parametrize("method", ["statistics", "picture", "timelapse"])
def test_a_view_is_stopped_between_two_strips(
    ndvi: Layer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(tile, "STRIP", ROWS)
    progress = Few(3)

    with pytest.raises(Cancelled):
        answer(ndvi, method, VIEW, progress)

    assert (progress.left, progress.done) == (0, 0)


@pytest.mark.parametrize("method", ["statistics", "picture", "values", "timelapse"])
def test_whoever_has_gone_before_it_begins_gets_nothing(ndvi: Layer, method: str) -> None:
    progress = Stoppable()
    progress.stopped = True
    given = {"lon": 21.01, "lat": 45.13} if method == "values" else VIEW

    with pytest.raises(Cancelled):
        answer(ndvi, method, given, progress)


def test_strips_make_the_same_picture_and_numbers_as_the_whole(
    ndvi: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen() -> tuple[bytes, Any]:
        picture = answer(ndvi, "picture", {**VIEW, "look": {"stretch": {"kind": "minmax"}}})
        assert isinstance(picture, Picture)
        return picture.content, answer(ndvi, "statistics", VIEW)

    whole = seen()
    monkeypatch.setattr(tile, "STRIP", ROWS)
    strips = seen()

    assert strips == whole


@pytest.mark.parametrize("method", ["statistics", "picture", "timelapse"])
@pytest.mark.parametrize("crs", ["native", "EPSG:4326"])
@pytest.mark.parametrize(
    ("bounds", "wanted"),
    [
        ([0, 0, 1e-300, 1e-300], "pixel"),
        ([-1e300, -1e300, 1e300, 1e300], "1e+09"),
        ([0, 0, 1, 2e9], "1e+09"),
    ],
)
def test_views_of_which_no_pixel_can_be_told_are_refused(
    ndvi: Layer, method: str, crs: str, bounds: list[float], wanted: str
) -> None:
    with pytest.raises(ArgumentInvalid) as refused:
        answer(ndvi, method, {**VIEW, "bounds": bounds, "crs": crs})

    assert wanted in str(refused.value)


@pytest.mark.parametrize("bounds", [[-1e9, -1e9, 1e9, 1e9], [LEFT, TOP - 1e-6, LEFT + 1e-6, TOP]])
def test_the_largest_and_the_smallest_view_are_answered(ndvi: Layer, bounds: list[float]) -> None:
    found = answer(ndvi, "statistics", {**VIEW, "bounds": bounds})

    assert json.dumps(found, allow_nan=False)


def test_far_too_many_colours_are_counted_and_not_read() -> None:
    text = "not a colour"

    with pytest.raises(ArgumentInvalid, match="2 to 100 stops"):
        Stops(tuple((float(n), text) for n in range(101)))
    with pytest.raises(ArgumentInvalid, match="1 to 255 classes"):
        Classes(tuple(Class(float(n), text) for n in range(256)))
