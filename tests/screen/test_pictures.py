"""Tiles, pictures and time-lapses: the engine's pixels in the colours that were asked for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import av
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from tests.server.small import DATES, EDGE, LEFT, PIXEL, TOP, nir, red

from terrazzo.drivers.screen.answers import answer
from terrazzo.drivers.screen.look import Look, LookRelative
from terrazzo.drivers.screen.pictures import Picture
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Cancelled, Progress
from terrazzo.storage.writers.film import FilmUnavailable, write_film

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.drivers.screen.layer import Layer

VIEW = {
    "bounds": [LEFT, TOP - EDGE * PIXEL, LEFT + EDGE * PIXEL, TOP],
    "crs": "native",
    "width": EDGE,
    "height": EDGE,
}


def drawn(layer: Layer, method: str, given: Mapping[str, Any]) -> np.ndarray:
    found = answer(layer, method, given)
    assert isinstance(found, Picture)
    return np.asarray(Image.open(io.BytesIO(found.content)).convert("RGBA")).astype(int)


def stretched(numbers: np.ndarray, low: float, high: float, gamma: float = 1.0) -> np.ndarray:
    return np.clip((numbers - low) / (high - low), 0, 1) ** (1 / gamma)


@pytest.mark.parametrize("name", ["viridis", "RdYlGn_r", "terrain", "tab10"])
@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_a_picture_has_the_colours_of_matplotlib(images: Layer, name: str, gamma: float) -> None:
    stretch = {"kind": "range", "low": 150, "high": 350, "gamma": gamma}
    look = {"bands": ["red"], "stretch": stretch, "colors": name}

    found = drawn(images, "picture", {**VIEW, "look": look})

    step = np.floor(stretched(red(2019).astype(float), 150, 350, gamma) * 255 + 0.5) / 255
    expected = np.round(mpl.colormaps[name](step) * 255).astype(int)
    whole = red(2019) > 0
    assert (found[..., 3] == np.where(whole, 255, 0)).all()
    # A value half way between two colours may have either.
    off = np.abs(found[whole][:, :3] - expected[whole][:, :3]).max(axis=1) > 0
    assert off.mean() < 0.02


def test_stops_are_linear_between_their_colours(images: Layer) -> None:
    stops = [[150, "#000000"], [200, "#ff0000"], [200, "#00ff00"], [400, "#0000ff"]]

    found = drawn(images, "picture", {**VIEW, "look": {"bands": ["red"], "colors": stops}})

    numbers = red(2019).astype(float)
    first = np.clip((numbers - 150) / 50, 0, 1) * 255
    second = np.clip((numbers - 200) / 200, 0, 1) * 255
    zero = np.zeros_like(first)
    below = numbers < 200
    expected = np.where(
        below[..., None],
        np.stack([first, zero, zero], -1),
        np.stack([zero, 255 - second, second], -1),
    )
    whole = red(2019) > 0
    assert np.abs(found[whole][:, :3] - expected[whole]).max() <= 3


@pytest.mark.parametrize("ends", [(-1e308, 1.7e308), (0.0, 5e-324), (-1.0, 1.0)])
def test_the_bar_of_stops_is_even_however_large_or_small_they_are(
    images: Layer, ends: tuple[float, float]
) -> None:
    stops = [[ends[0], "#000000"], [ends[1], "#ffffff"]]

    legend = answer(images, "legend", {"look": {"colors": stops}})

    assert isinstance(legend, dict)
    grey = [int(colour[1:3], 16) for colour in legend["colors"]]
    np.testing.assert_allclose(grey, np.linspace(0, 255, len(grey)), atol=0.51)


def test_classes_have_their_colour_and_all_else_has_none(images: Layer) -> None:
    classes = [
        {"value": 240, "color": "#112233", "label": "a"},
        {"value": 200, "color": "#445566", "label": "b"},
    ]

    look = {"bands": ["red"], "colors": {"classes": classes}}
    found = drawn(images, "picture", {**VIEW, "look": look})
    legend = answer(images, "legend", {"look": look})

    numbers = red(2019)
    assert (found[numbers == 240] == [0x11, 0x22, 0x33, 255]).all()
    assert (found[numbers == 200] == [0x44, 0x55, 0x66, 255]).all()
    assert (found[(numbers != 240) & (numbers != 200)][:, 3] == 0).all()
    assert legend == {"kind": "classes", "classes": classes}


def test_each_of_three_bands_has_its_own_stretch(images: Layer) -> None:
    ranges = [[100, 400], [500, 1400], [0, 1000]]
    look = {"bands": ["red", "nir", "nir"], "stretch": {"per_band": ranges}}

    found = drawn(images, "picture", {**VIEW, "look": look})

    bands = [red(2019), nir(2019), nir(2019)]
    expected = [
        stretched(band.astype(float), *one) * 255 for band, one in zip(bands, ranges, strict=True)
    ]
    whole = found[..., 3] > 0
    assert whole.sum() == (red(2019) > 0).sum()
    assert np.abs(found[..., :3] - np.stack(expected, -1))[whole].max() <= 0.51


@pytest.mark.parametrize(
    ("stretch", "edges"),
    [
        ({"kind": "percentile", "low": 5, "high": 90}, (5, 90)),
        ({"kind": "minmax"}, (0, 100)),
    ],
)
def test_a_stretch_of_the_view_is_that_of_its_statistics(
    images: Layer, stretch: dict[str, Any], edges: tuple[float, float]
) -> None:
    seen = red(2019)[red(2019) > 0].astype(float)
    low, high = np.percentile(seen, edges)
    absolute = {"bands": ["red"], "stretch": {"kind": "range", "low": low, "high": high}}

    relative = drawn(images, "picture", {**VIEW, "look": {"bands": ["red"], "stretch": stretch}})

    np.testing.assert_array_equal(relative, drawn(images, "picture", {**VIEW, "look": absolute}))


def test_a_tile_refuses_a_stretch_that_depends_on_the_view(ndvi: Layer) -> None:
    look = {"stretch": {"kind": "sd"}}

    with pytest.raises(LookRelative, match="statistics"):
        answer(ndvi, "tile", {"z": 0, "x": 0, "y": 0, "look": look})


def test_native_tiles_are_the_picture_cut_up(ndvi: Layer) -> None:
    look = {"stretch": {"kind": "range", "low": 0, "high": 1}, "time": ndvi.dates[0]}

    whole = drawn(ndvi, "picture", {**VIEW, "look": look})

    def tile(x: int, y: int) -> np.ndarray:
        return drawn(ndvi, "tile", {"matrix": "native", "z": 1, "x": x, "y": y, "look": look})

    rows = [np.concatenate([tile(0, y), tile(1, y)], axis=1) for y in (0, 1)]
    tiles = np.concatenate(rows)

    np.testing.assert_array_equal(tiles[:EDGE, :EDGE], whole)
    assert (tiles[EDGE:, :, 3] == 0).all()


def test_a_picture_says_at_which_resolution_it_was_computed(ndvi: Layer) -> None:
    box = {"bounds": [2_337_000, 5_640_000, 2_342_000, 5_645_000], "crs": "EPSG:3857"}

    found = answer(ndvi, "picture", {**box, "width": 100, "height": 100})

    assert isinstance(found, Picture)
    assert found.resolution == pytest.approx(50 * np.cos(np.radians(45.1)), rel=1e-2)


def test_default_range_is_the_same_for_all_dates(ndvi: Layer) -> None:
    first, last = (ndvi.view(Look(time=date)).style.stretch for date in ndvi.dates[::2])

    assert first == last


def test_about_tells_what_a_map_in_the_layers_own_projection_needs(images: Layer) -> None:
    told = answer(images, "about", {})

    assert isinstance(told, dict)
    native = told["native"]
    assert native["crs"] == "EPSG:32634"
    assert native["origin"] == [LEFT, TOP]
    assert native["extent"] == [LEFT, TOP - EDGE * PIXEL, LEFT + EDGE * PIXEL, TOP]
    assert native["resolutions"] == [2 * PIXEL, PIXEL]
    assert native["sizes"] == [[1, 1], [2, 2]]
    assert [band["name"] for band in told["bands"]] == ["red", "nir"]
    assert [date[:10] for date in told["dates"]] == list(DATES)
    assert told["temporal"] == "t"


@pytest.mark.parametrize("form", ["gif", "mp4", "webm"])
def test_a_timelapse_shows_every_date_with_its_label(ndvi: Layer, form: str) -> None:
    asked = {key: VIEW[key] for key in ("bounds", "crs")} | {"width": 301, "format": form}

    found = answer(ndvi, "timelapse", {**asked, "seconds_per_frame": 0.4})

    assert isinstance(found, Picture)
    assert found.resolution == pytest.approx(PIXEL, rel=1e-2)
    if form == "gif":
        with Image.open(io.BytesIO(found.content)) as film:
            assert film.info["duration"] == 400
            frames = [np.asarray(_at(film, n)) for n in range(film.n_frames)]
    else:
        with av.open(io.BytesIO(found.content)) as film:
            frames = [one.to_ndarray(format="rgb24") for one in film.decode(video=0)]
            assert film.duration == pytest.approx(len(DATES) * 400_000, rel=0.01)
    assert len(frames) == len(DATES)
    for frame in frames:
        assert frame.shape[0] - 301 in {0, 1}
        label = frame[301 - 40 :, :120].astype(int)
        assert label.min() < 90  # a dark box
        assert label.max() > 220  # with light letters
    assert np.abs(frames[0].astype(int) - frames[2].astype(int)).mean() > 0.1


def _at(film: Image.Image, number: int) -> Image.Image:
    film.seek(number)
    return film.convert("RGB")


def test_a_timelapse_is_stopped_between_two_frames(ndvi: Layer) -> None:
    class Impatient(Progress):
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done == 2:
                raise Cancelled

    progress = Impatient()
    with pytest.raises(Cancelled):
        answer(ndvi, "timelapse", {**VIEW, "format": "gif"}, progress)

    assert (progress.done, progress.total) == (2, len(DATES))


def test_without_the_library_for_films_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)

    with pytest.raises(FilmUnavailable, match=r"terrazzo\[film\]"):
        write_film(iter(()), "mp4", 1.0)


@pytest.mark.parametrize(
    ("look", "wanted"),
    [
        ({"colors": "virids"}, "viridis"),
        ({"colors": [[1, "#000000"]]}, "2 to"),
        ({"colors": [[1, "#000000"], [0, "#ffffff"]]}, "ascend"),
        ({"colors": [[1, "red"], [2, "#ffffff"]]}, "#rrggbb"),
        ({"colors": {"classes": [{"value": 1, "color": "#000000"}] * 2}}, "Two classes"),
        ({"colors": {"classes": []}}, "1 to 255"),
        ({"colors": 3}, "colour map"),
        ({"stretch": {"kind": "range", "low": 1}}, "both"),
        ({"stretch": {"kind": "range", "low": 2, "high": 1}}, "below"),
        ({"stretch": {"kind": "percentile", "low": -1}}, "percentile"),
        ({"stretch": {"kind": "linear"}}, "minmax"),
        ({"stretch": {"gamma": 0}}, "gamma"),
        ({"bands": ["red", "nir"]}, "one band, or three"),
        ({"time": 5}, "text"),
        ({"colour": "x"}, "Did you mean 'colors'"),
    ],
)
def test_a_look_that_cannot_be_is_told(images: Layer, look: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ArgumentInvalid, match=wanted):
        answer(images, "picture", {**VIEW, "width": 8, "height": 8, "look": look})
