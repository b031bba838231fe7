"""Pictures: what each pixel becomes, and that every way to write it decodes to the same colours."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import hypothesis.extra.numpy as hnp
import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.storage.files import field

from terrazzo.cube import Cube, Dimension, Kind, empty_cube
from terrazzo.errors import ArgumentInvalid, FormatUnsupported
from terrazzo.geo.grid import Grid, Window
from terrazzo.spans import recorded
from terrazzo.storage.writers.colors import colormap, colormap_names
from terrazzo.storage.writers.picture import (
    Style,
    empty_picture,
    encode,
    encode_picture,
    to_rgba,
)
from terrazzo.storage.writers.png import png

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16",
    "float32", "float64",
)  # fmt: skip
RANGES = st.tuples(st.floats(-300, 300), st.floats(0, 600)).map(lambda r: (r[0], r[0] + r[1]))


def plain_rgba(values: NDArray[Any], valid: NDArray[np.bool_], style: Style) -> NDArray[np.uint8]:
    """Say in NumPy, one full-size operation after the other, what `to_rgba` compiles."""
    shown = min(len(values), 3)
    ranges = style.stretch * shown if len(style.stretch) == 1 else style.stretch
    bands = [
        plain_bytes(values[band], valid[band], ranges[band] if ranges else None)
        for band in range(shown)
    ]
    whole = valid.all(axis=0)
    if values.dtype.kind == "f":
        whole = whole & ~np.isnan(values).any(axis=0)
    rgba = np.full((*values.shape[1:], 4), 255, np.uint8)
    rgba[..., :3] = (
        np.stack(bands, axis=-1) if shown == 3 else colormap(str(style.colormap))[bands[0]]
    )
    if len(values) == 4:
        with np.errstate(invalid="ignore"):
            rgba[..., 3] = values[3].astype(np.uint8)
    rgba[~whole] = 0
    return rgba


def plain_bytes(
    band: NDArray[Any], valid: NDArray[np.bool_], limits: tuple[float, float] | None
) -> NDArray[np.uint8]:
    if limits is None:
        if band.dtype == np.uint8:
            return band
        seen = band[valid & np.isfinite(band)]
        limits = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    wide = band.dtype.kind in "iu" and band.dtype.itemsize > 2
    numbers = band.astype(np.float64 if wide else np.float32)
    kind, (low, high) = numbers.dtype.type, limits
    with np.errstate(all="ignore"):
        unit = (numbers - kind(low)) * kind(255 / (high - low or 1e-30))
        return (np.nan_to_num(np.clip(unit, 0, 255), nan=0.0) + kind(0.5)).astype(np.uint8)


def two_dates() -> Cube:
    dimensions = (
        Dimension("t", Kind.TEMPORAL, ("2020-06-01T10:30:00Z", "2020-06-11T10:30:00Z")),
        Dimension("y", Kind.SPATIAL),
        Dimension("x", Kind.SPATIAL),
    )
    grid = Grid.of("EPSG:32633", 500_000.0, 5_000_000.0, 10.0, 4, 4)
    return empty_cube(dimensions, np.dtype(np.float32), grid, Window(0, 0, 4, 4))


@st.composite
def bands_and_style(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.bool_], Style]:
    """Draw pixels of every type and layout, sparse or full masks, and a stretch or none."""
    count = draw(st.sampled_from((1, 3, 4)))
    shape = (count, draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    small = (
        st.floats(-500, 500, width=16) | st.sampled_from((np.nan, np.inf, -np.inf))
        if dtype.kind == "f"
        else hnp.from_dtype(dtype)
    )
    values = draw(hnp.arrays(dtype, shape, elements=small))
    if count == 4 and dtype.kind != "b":
        values[3] = draw(hnp.arrays(np.uint8, shape[1:])).astype(dtype)
    valid = draw(st.just(np.ones(shape, np.bool_)) | hnp.arrays(np.bool_, shape))
    if draw(st.booleans()):
        values, valid = values[:, ::-1, ::2], valid[:, ::-1, ::2]
    shown = min(count, 3)
    ranges = draw(st.sampled_from((0, 1, shown)))
    stretch = tuple(draw(st.lists(RANGES, min_size=ranges, max_size=ranges)))
    return values, valid, Style(stretch, draw(st.sampled_from(colormap_names())))


@given(drawn=bands_and_style())
def test_colours_are_those_of_plain_numpy(
    drawn: tuple[NDArray[Any], NDArray[np.bool_], Style],
) -> None:
    expected = plain_rgba(*drawn)

    rgba = to_rgba(*drawn)

    np.testing.assert_array_equal(rgba, expected)


@given(drawn=bands_and_style())
def test_png_decodes_to_the_same_colours_however_it_is_written(
    drawn: tuple[NDArray[Any], NDArray[np.bool_], Style],
) -> None:
    expected = plain_rgba(*drawn)

    shown = decoded(encode(*drawn, "png"))

    np.testing.assert_array_equal(shown, expected)


RAMP = np.arange(1024, dtype=np.uint8).reshape(1, 4, 256)
HOLE = np.arange(1024).reshape(1, 4, 256) > 5
ALL = np.ones((1, 4, 256), np.bool_)
AS_IT_IS, BRIGHT = np.repeat(RAMP, 3, axis=0), np.maximum(np.repeat(RAMP, 3, axis=0), 1)
KINDS = {
    "all 256 colours": (RAMP, ALL, "P"),
    "black is free for no data": (np.maximum(RAMP, 1), HOLE, "P"),
    "another colour is free for no data": (np.minimum(RAMP, 254), HOLE, "P"),
    "no colour is free for no data": (RAMP, HOLE, "RGBA"),
    "three bands": (AS_IT_IS, np.repeat(ALL, 3, axis=0), "RGB"),
    "three bands without black": (BRIGHT, np.repeat(HOLE, 3, axis=0), "RGB"),
    "three bands with black": (AS_IT_IS, np.repeat(HOLE, 3, axis=0), "RGBA"),
    "alpha": (np.repeat(RAMP, 4, axis=0), np.repeat(ALL, 4, axis=0), "RGBA"),
}


@pytest.mark.parametrize("name", KINDS)
def test_png_has_the_fewest_channels_that_say_the_same(name: str) -> None:
    values, valid, mode = KINDS[name]

    data = encode(values, valid, Style(), "png")

    assert Image.open(io.BytesIO(data)).mode == mode
    np.testing.assert_array_equal(decoded(data), plain_rgba(values, valid, Style()))


@given(pixels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_png_is_read_by_others(pixels: NDArray[np.uint8]) -> None:
    palette = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=-1)

    image = Image.open(io.BytesIO(png(pixels[..., np.newaxis], palette)))
    image.load()

    assert image.format == "PNG"
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_png_is_smaller_than_pillows() -> None:
    noise = np.random.default_rng(3).normal(0, 8, (3, 256, 256)).cumsum(axis=1).cumsum(axis=2)
    valid = np.ones(noise.shape, np.bool_)
    style = Style(((float(noise.min()), float(noise.max())),))
    pillows = io.BytesIO()
    Image.fromarray(to_rgba(noise, valid, style)).save(pillows, "PNG", compress_level=1)

    data = encode(noise, valid, style, "png")

    assert len(data) < len(pillows.getvalue())


@pytest.mark.parametrize("format_name", ["png", "webp"])
def test_pictures_without_data_are_the_empty_one(format_name: str) -> None:
    values, valid = np.ones((3, 5, 7), np.float32), np.zeros((3, 5, 7), np.bool_)

    data = encode(values, valid, Style(((0, 1),)), format_name)

    assert data == empty_picture(format_name, 5, 7)
    assert decoded(data).shape == (5, 7, 4)
    assert not decoded(data).any()


def test_encoding_is_a_span() -> None:
    cube = two_dates().take("t", (0,))

    with recorded() as told:
        encode_picture(cube, Style())

    assert told.spent["encode"].calls == 1


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


@pytest.mark.parametrize("format_name", ["png", "webp"])
def test_pictures_stretch_colour_and_are_transparent(format_name: str):
    values = np.array([[[0, 50, 100], [150, 200, -50]]], np.int16)
    valid = np.array([[[True, True, True], [False, True, True]]])

    grey = decoded(encode(values, valid, Style(((0, 100),)), format_name))
    green = decoded(encode(values, valid, Style(((0, 100),), "rdylgn"), format_name))

    np.testing.assert_array_equal(grey[..., 0], [[0, 128, 255], [0, 255, 0]])
    np.testing.assert_array_equal(grey[..., 3], [[255, 255, 255], [0, 255, 255]])
    np.testing.assert_array_equal(green[0, 0, :3], [0xA5, 0x00, 0x26])
    np.testing.assert_array_equal(green[0, 2, :3], [0x00, 0x68, 0x37])


def test_three_bands_are_red_green_blue():
    values = np.stack([np.full((4, 5), v, np.float32) for v in (0.0, 0.5, 2.0)])
    values[1, 0, 0] = np.nan
    valid = np.ones(values.shape, np.bool_)
    valid[2, 1, 1] = False

    rgba = to_rgba(values, valid, Style(((0, 1), (0, 1), (1, 3))))

    np.testing.assert_array_equal(rgba[3, 3], [0, 128, 128, 255])
    assert rgba[0, 0, 3] == rgba[1, 1, 3] == 0
    bytes_as_they_are = field(4, 5)[None].astype(np.uint8)
    plain = to_rgba(bytes_as_they_are, np.ones((1, 4, 5), np.bool_), Style())
    np.testing.assert_array_equal(plain[..., 0], bytes_as_they_are[0])


def test_npy_and_jpeg():
    values, valid = field(6, 7)[None], np.ones((1, 6, 7), np.bool_)
    valid[0, 0, 0] = False

    array = np.load(io.BytesIO(encode(values, valid, Style(), "npy")))
    picture = Image.open(io.BytesIO(encode(values, valid, Style(), "jpeg")))

    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array[1] > 0, valid[0])
    np.testing.assert_array_equal(array[0][valid[0]], values[0][valid[0]])
    assert picture.size == (7, 6)
    assert picture.format == "JPEG"


def test_pictures_that_make_no_sense_are_refused():
    values, valid = np.ones((2, 4, 4)), np.ones((2, 4, 4), np.bool_)

    with pytest.raises(FormatUnsupported, match="1, 3 or 4"):
        encode(values, valid, Style())
    with pytest.raises(ArgumentInvalid, match="Did you mean 'viridis'"):
        encode(values[:1], valid[:1], Style(((0, 1),), "virids"))
    with pytest.raises(ArgumentInvalid, match="low to high"):
        encode(values[:1], valid[:1], Style(((2, 1),)))
    with pytest.raises(FormatUnsupported, match="bmp"):
        encode(values[:1], valid[:1], Style(), "bmp")
    with pytest.raises(FormatUnsupported, match="one date"):
        encode_picture(two_dates(), Style())


def test_colour_maps_are_those_of_matplotlib():
    places = np.arange(256) / 255
    assert set(mpl.colormaps) == set(colormap_names())

    for name in colormap_names():
        theirs = np.round(mpl.colormaps[name](places)[:, :3] * 255)

        np.testing.assert_array_equal(colormap(name.upper()), theirs, name)


def test_colour_maps_do_not_need_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from terrazzo.storage.writers.colors import colormap\n"
        "print(colormap('Paired_r')[0].tolist())"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[177, 89, 40]"
