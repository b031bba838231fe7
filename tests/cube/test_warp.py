"""Resampling against GDAL, by hand, and against itself in other windows."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from terrazzo.cube.warp import METHODS, source_window, support, warp
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.control import ERROR
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between

KERNEL_METHODS = ("near", "bilinear", "cubic", "cubicspline", "lanczos")
AREA_METHODS = tuple(m for m in METHODS if m not in KERNEL_METHODS)
GDAL = {"near": "nearest", "cubicspline": "cubic_spline"}
NODATA = -9999.0
SINUSOIDAL = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m +no_defs"
LAEA = "+proj=laea +lat_0=46.5 +lon_0=15 +datum=WGS84 +units=m +no_defs"

UTM = Grid.of(32633, 500_000.0, 5_200_000.0, 10.0, 60, 80)
TARGETS = {
    "shifted": Grid.of(32633, 500_003.7, 5_199_991.2, 10.0, 57, 76),
    "finer": Grid.of(32633, 500_001.0, 5_199_999.0, 3.7, 100, 130),
    "half": Grid.of(32633, 500_000.0, 5_200_000.0, 5.0, 120, 160),
    "double": Grid.of(32633, 500_000.0, 5_200_000.0, 20.0, 30, 40),
    "coarser": Grid.of(32633, 499_990.0, 5_200_010.0, 27.0, 25, 32),
    "mercator": Grid.of(3857, 1_669_805.0, 5_934_480.0, 14.0, 70, 80),
    "sinusoidal": Grid.of(SINUSOIDAL, 1_138_450.0, 5_220_900.0, 8.0, 75, 100),
    "laea": Grid.of(LAEA, 100.0, 50_300.0, 9.0, 60, 80),
}


def field(grid: Grid, dtype: str = "float64") -> np.ndarray:
    """A smooth field with texture, made from map coordinates."""
    xs, ys = np.meshgrid(grid.xs(grid.window), grid.ys(grid.window))
    wave = 50 * np.sin(xs / 37.0) * np.cos(ys / 53.0) + 0.02 * (xs - grid.left)
    return (wave + np.random.default_rng(7).uniform(-5, 5, wave.shape)).astype(dtype)


def holes(grid: Grid) -> np.ndarray:
    valid = np.random.default_rng(3).random((grid.height, grid.width)) > 0.1
    valid[20:30, 10:25] = False
    return valid


def ours(target, source, values, valid, method, window=None, *, exact=False):
    window = target.window if window is None else window
    scale = scale_between(target, source)
    pixel_map = PixelMap.between(target, window, source, exact=exact)
    needed = source_window(pixel_map, method, scale, source.window)
    inside = (..., *source.window.slices(needed))
    return warp(values[inside], valid[inside], needed, pixel_map, method, scale)


def theirs(target, source, values, valid, method, nodata=NODATA):
    rows, cols = scale_between(target, source)
    filled = values if nodata is None else np.where(valid, values, nodata).astype(values.dtype)
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": values.dtype,
        "height": source.height,
        "width": source.width,
        "crs": source.crs,
        "transform": affine(source),
    }
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as made:
            made.write(filled, 1)
        # An exact transformer (rasterio refuses tolerance 0), and our scale, which GDAL would
        # take from its chunk.
        with (
            memory.open() as opened,
            WarpedVRT(
                opened,
                crs=target.crs,
                transform=affine(target),
                height=target.height,
                width=target.width,
                src_nodata=nodata,
                nodata=NODATA,
                resampling=Resampling[GDAL.get(method, method)],
                tolerance=1e-12,
                XSCALE=str(1 / cols),
                YSCALE=str(1 / rows),
            ) as warped,
        ):
            out = warped.read(1)
    return out, out != NODATA


def affine(grid: Grid) -> rasterio.Affine:
    return rasterio.Affine(grid.pixel_x, 0, grid.left, 0, -grid.pixel_y, grid.top)


def inner(target: Grid, source: Grid, pixels: float) -> np.ndarray:
    """Target pixels whose centre is at least so many source pixels inside the source."""
    rows, cols = PixelMap.between(target, target.window, source).centres
    if rows.ndim == 1:
        rows, cols = np.meshgrid(rows, cols, indexing="ij")
    near_rows = (rows > pixels) & (rows < source.height - pixels)
    return near_rows & (cols > pixels) & (cols < source.width - pixels)


def surely_inside(target: Grid, source: Grid) -> np.ndarray:
    """Target pixels whose centre is so far from a source pixel's border that an error is none."""
    rows, cols = PixelMap.between(target, target.window, source, exact=True).centres
    return (np.abs(rows - np.round(rows)) > ERROR) & (np.abs(cols - np.round(cols)) > ERROR)


def tolerance(name: str, method: str) -> float:
    """Values vary by about 10 per pixel; PROJ versions differ by 1e-4 pixel in LAEA (0.5 mm)."""
    if name == "laea":
        return 3e-3
    if name in {"mercator", "sinusoidal"}:
        return 2e-4 if method == "lanczos" else 1e-5
    if (name, method) == ("coarser", "cubicspline"):
        return 0.06  # GDAL's stretched B-spline is not cut at its radius, and negative after it
    return 2e-4 if method == "lanczos" else 1e-8  # GDAL tabulates sines


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("method", KERNEL_METHODS)
def test_kernels_equal_gdal(name: str, method: str) -> None:
    target = TARGETS[name]
    values = field(UTM)
    everywhere = np.ones(values.shape, dtype=bool)

    out, out_valid = ours(target, UTM, values, everywhere, method, exact=True)
    expected, _ = theirs(target, UTM, values, everywhere, method, nodata=None)

    same = inner(target, UTM, max(support(method, scale_between(target, UTM))) + 0.01)
    assert same.sum() > 300
    assert out_valid[same].all()
    np.testing.assert_allclose(out[same], expected[same], rtol=0, atol=tolerance(name, method))


@pytest.mark.parametrize("name", ["shifted", "finer", "half", "double", "coarser", "mercator"])
@pytest.mark.parametrize("method", ["near", "bilinear", "cubic", "lanczos"])
def test_nodata_is_where_gdal_has_it(name: str, method: str) -> None:
    target = TARGETS[name]
    values, valid = field(UTM), holes(UTM)

    out, out_valid = ours(target, UTM, values, valid, method, exact=True)
    expected, expected_valid = theirs(target, UTM, values, valid, method)

    same = inner(target, UTM, 3.0 * max(1.0, *scale_between(target, UTM)) + 0.01)
    lost = out_valid & ~expected_valid & same
    # GDAL gives up where Lanczos' weights of what is left sum to nothing; we fall to bilinear.
    assert lost.sum() <= (0.02 * same.sum() if method == "lanczos" else 0)
    assert not (expected_valid & ~out_valid & same).any()
    if method in {"near", "bilinear"} or (method == "cubic" and name not in {"double", "coarser"}):
        shown = same & out_valid
        np.testing.assert_allclose(out[shown], expected[shown], atol=tolerance(name, method))


@pytest.mark.parametrize("name", ["mercator", "sinusoidal", "laea"])
@pytest.mark.parametrize("method", KERNEL_METHODS)
def test_interpolated_coordinates_give_what_gdal_gives(name: str, method: str) -> None:
    target = TARGETS[name]
    values = field(UTM)
    everywhere = np.ones(values.shape, dtype=bool)

    out, out_valid = ours(target, UTM, values, everywhere, method)
    expected, _ = theirs(target, UTM, values, everywhere, method, nodata=None)

    same = inner(target, UTM, 3.1) & surely_inside(target, UTM)
    assert same.sum() > 200
    assert out_valid[same].all()
    # Values differ by about 10 from pixel to pixel, and coordinates by up to 1e-4 pixel.
    atol = 0 if method == "near" else 0.01
    np.testing.assert_allclose(out[same], expected[same], rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["mercator", "sinusoidal", "laea"])
@pytest.mark.parametrize("method", ["near", "bilinear", "cubic"])
def test_nodata_is_where_gdal_has_it_with_interpolated_coordinates(name: str, method: str) -> None:
    target = TARGETS[name]
    values, valid = field(UTM), holes(UTM)

    out, out_valid = ours(target, UTM, values, valid, method)
    expected, expected_valid = theirs(target, UTM, values, valid, method)

    same = inner(target, UTM, 3.1) & surely_inside(target, UTM)
    np.testing.assert_array_equal(out_valid[same], expected_valid[same])
    shown = same & out_valid
    np.testing.assert_allclose(out[shown], expected[shown], rtol=0, atol=0.01)


@pytest.mark.parametrize("name", ["shifted", "finer", "half", "double", "coarser"])
@pytest.mark.parametrize("method", ["average", "sum", "rms", "min", "max", "med", "q1", "q3"])
def test_areas_equal_gdal(name: str, method: str) -> None:
    target = TARGETS[name]
    values, valid = field(UTM), holes(UTM)

    out, out_valid = ours(target, UTM, values, valid, method)
    expected, expected_valid = theirs(target, UTM, values, valid, method)

    same = inner(target, UTM, max(scale_between(target, UTM)))
    slivers = same & (out_valid != expected_valid)
    # GDAL's sum takes slivers of 1e-10 pixel that rounding leaves beside a border.
    assert not slivers.any() or (method == "sum" and np.abs(expected[slivers]).max() < 1e-6)
    shown = same & out_valid
    np.testing.assert_allclose(out[shown], expected[shown], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["average", "min", "max", "med"])
def test_areas_in_another_crs_are_close_to_gdal(method: str) -> None:
    """GDAL takes the box of two corners, we that of four: the same within the rotation."""
    target = Grid.of(3857, 1_669_805.0, 5_934_400.0, 60.0, 12, 18)
    ys, xs = np.mgrid[0 : UTM.height, 0 : UTM.width]
    values = 3.0 * xs + 2.0 * ys

    out, _ = ours(target, UTM, values, np.ones(values.shape, bool), method)
    expected, _ = theirs(target, UTM, values, np.ones(values.shape, bool), method, nodata=None)

    same = inner(target, UTM, 5.0)
    assert same.sum() > 80
    np.testing.assert_allclose(out[same], expected[same], atol=3.0)


def test_mode_takes_the_most_frequent_and_the_smallest_of_equals() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 2, 6)
    values = np.array([[3, 3, 9, 9, 5, 7], [1, 3, 2, 2, 5, 5]], dtype=np.uint8)

    out, _ = ours(Grid.of(32633, 0, 0, 20.0, 1, 3), source, values, np.ones((2, 6), bool), "mode")

    assert out.tolist() == [[3, 2, 5]]


def test_a_lattice_of_half_the_size_has_no_half_pixel_shift() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 6, 6)
    values = np.add.outer(10.0 * np.arange(6), np.arange(6.0))
    target = Grid.of(32633, 20, -20, 5.0, 4, 4)

    near, _ = ours(target, source, values, np.ones((6, 6), bool), "near")
    smooth, _ = ours(target, source, values, np.ones((6, 6), bool), "bilinear")

    assert near[:, 0].tolist() == [22, 22, 32, 32]
    # Centres of the halves lie a quarter pixel before and after the whole's.
    assert smooth[0].tolist() == pytest.approx([22 - 2.5 + d for d in (-0.25, 0.25, 0.75, 1.25)])


def test_nodata_does_not_bleed_into_bilinear_neighbours() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 4, 4)
    values = np.full((4, 4), 7.0)
    values[1, 1] = -9999.0
    valid = values > 0

    out, out_valid = ours(Grid.of(32633, 3, -4, 10.0, 3, 3), source, values, valid, "bilinear")

    np.testing.assert_allclose(out[out_valid], 7.0)
    assert out_valid.sum() == 8


@pytest.mark.parametrize("method", ["bilinear", "cubic", "lanczos", "average", "sum"])
def test_nan_is_data_and_propagates(method: str) -> None:
    source = Grid.of(32633, 0, 0, 10.0, 9, 9)
    values = np.ones((9, 9), dtype=np.float32)
    values[4, 4] = np.nan

    out, valid = ours(
        Grid.of(32633, 3, -3, 10.0, 8, 8), source, values, np.ones((9, 9), bool), method
    )

    assert valid.all()
    assert np.isnan(out[3:5, 3:5]).all()
    assert np.isfinite(out[0, 0])


@pytest.mark.parametrize("method", ["min", "max", "med", "q1", "q3"])
def test_order_statistics_of_nan_are_nan(method: str) -> None:
    source = Grid.of(32633, 0, 0, 10.0, 4, 4)
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    values[0, 0] = np.nan

    out, _ = ours(Grid.of(32633, 0, 0, 20.0, 2, 2), source, values, np.ones((4, 4), bool), method)

    assert np.isnan(out).tolist() == [[True, False], [False, False]]


def test_integers_are_rounded_half_away_and_clamped() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 1, 4)
    values = np.array([[-2, -1, 1, 2]], dtype=np.int8)
    between = Grid.of(32633, 5, 0, 10.0, 1, 3)
    everywhere = np.ones((1, 4), dtype=bool)

    out, _ = ours(between, source, values, everywhere, "bilinear")
    total, _ = ours(
        Grid.of(32633, 0, 0, 40.0, 1, 1), source, np.full((1, 4), 100, np.int8), everywhere, "sum"
    )
    sharp = np.array([[0, 0, 255, 255, 0, 0]], dtype=np.uint8)
    over, _ = ours(
        Grid.of(32633, 5, 0, 10.0, 1, 5),
        Grid.of(32633, 0, 0, 10.0, 1, 6),
        np.repeat(sharp, 1, axis=0),
        np.ones((1, 6), bool),
        "lanczos",
    )

    assert out.dtype == np.int8
    assert out.tolist() == [[-2, 0, 2]]
    assert total.tolist() == [[127]]
    assert over.dtype == np.uint8


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_whole_numbers_beyond_float64_stay_exact(dtype: str) -> None:
    source = Grid.of(32633, 0, 0, 10.0, 2, 2)
    values = np.array([[2**60 + 1, 2**60 + 1], [2**60 + 1, 5]], dtype=dtype)
    target = Grid.of(32633, 0, 0, 20.0, 1, 1)

    found = {
        m: ours(target, source, values, np.ones((2, 2), bool), m)[0][0, 0]
        for m in ("near", "min", "max", "med", "mode")
    }

    assert found == {"near": 5, "min": 5, "max": 2**60 + 1, "med": 2**60 + 1, "mode": 2**60 + 1}
    huge, _ = ours(
        target, source, np.full((2, 2), np.iinfo(dtype).max), np.ones((2, 2), bool), "sum"
    )
    assert huge[0, 0] > 2**62


def test_booleans_are_chosen_but_not_computed() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 2, 2)
    values = np.array([[True, True], [True, False]])
    target = Grid.of(32633, 0, 0, 20.0, 1, 1)

    mode, _ = ours(target, source, values, np.ones((2, 2), bool), "mode")

    assert mode.dtype == bool
    assert mode.tolist() == [[True]]
    with pytest.raises(ArgumentInvalid, match="near, min, max"):
        ours(target, source, values, np.ones((2, 2), bool), "bilinear")


def test_unknown_methods_and_types_are_refused() -> None:
    source = Grid.of(32633, 0, 0, 10.0, 2, 2)
    everywhere = np.ones((2, 2), dtype=bool)

    with pytest.raises(ArgumentInvalid, match="Did you mean 'bilinear'"):
        ours(source, source, np.zeros((2, 2)), everywhere, "biliner")
    with pytest.raises(ArgumentInvalid, match="complex128"):
        ours(source, source, np.zeros((2, 2), complex), everywhere, "near")


@pytest.mark.parametrize("method", METHODS)
def test_coincident_lattices_copy_pixels(method: str) -> None:
    values, valid = field(UTM), holes(UTM)
    target = Grid.of(32633, UTM.left - 30, UTM.top + 20, 10.0, 66, 85)

    out, out_valid = ours(target, UTM, values, valid, method)

    expected = np.abs(values) if method == "rms" else values
    np.testing.assert_array_equal(out_valid[2:62, 3:83], valid)
    np.testing.assert_allclose(out[2:62, 3:83][valid], expected[valid], rtol=1e-15)
    assert not out_valid[:2].any()
    assert not out_valid[:, :3].any()
    assert not out[~out_valid].any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["shifted", "mercator"])
def test_empty_arrays_and_windows_outside_the_source_work(method: str, name: str) -> None:
    target = TARGETS[name]
    values, valid = np.ones((3, 60, 80)), np.ones((3, 60, 80), bool)

    nothing, _ = ours(target, UTM, values, valid, method, Window(4, 5, 0, 7))
    far, far_valid = ours(target, UTM, values, valid, method, Window(-5000, 5000, 2, 3))
    none, _ = ours(target, UTM, values[:0], valid[:0], method, Window(0, 0, 2, 3))

    assert nothing.shape == (3, 0, 7)
    assert far.shape == (3, 2, 3)
    assert not far_valid.any()
    assert none.shape == (0, 2, 3)


def test_float16_and_other_byte_orders_keep_their_type() -> None:
    values = field(UTM)
    everywhere = np.ones(values.shape, dtype=bool)

    for dtype in ("float16", ">f4", ">i2"):
        out, _ = ours(TARGETS["shifted"], UTM, values.astype(dtype), everywhere, "bilinear")

        assert out.dtype == np.dtype(dtype)


def test_layers_have_their_own_masks() -> None:
    values = np.stack([field(UTM), -field(UTM)])
    valid = np.stack([holes(UTM), ~holes(UTM)])

    out, out_valid = ours(TARGETS["finer"], UTM, values, valid, "cubic")

    for layer in range(2):
        alone, alone_valid = ours(TARGETS["finer"], UTM, values[layer], valid[layer], "cubic")
        np.testing.assert_array_equal(out[layer], alone)
        np.testing.assert_array_equal(out_valid[layer], alone_valid)


@functools.cache
def whole(name: str, method: str, masked: bool) -> tuple[np.ndarray, np.ndarray]:
    valid = holes(UTM) if masked else np.ones((UTM.height, UTM.width), dtype=bool)
    return ours(TARGETS[name], UTM, field(UTM), valid, method)


@settings(max_examples=300)
@given(
    name=st.sampled_from(sorted(TARGETS)),
    method=st.sampled_from(METHODS),
    masked=st.booleans(),
    corner=st.tuples(st.integers(0, 24), st.integers(0, 31)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_a_pixel_has_the_same_bits_in_every_window(name, method, masked, corner, size) -> None:
    target = TARGETS[name]
    window = Window(*corner, *size).intersection(target.window)
    valid = holes(UTM) if masked else np.ones((UTM.height, UTM.width), dtype=bool)

    out, out_valid = ours(target, UTM, field(UTM), valid, method, window)

    everything, everywhere = whole(name, method, masked)
    inside = target.window.slices(window)
    np.testing.assert_array_equal(out_valid, everywhere[inside])
    assert out.tobytes() == everything[inside].tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_a_target_across_the_antimeridian_is_whole(method: str) -> None:
    longitudes = Grid.of(4326, -180.0, 10.0, 0.5, 40, 720)
    xs = longitudes.xs(longitudes.window)
    values = np.broadcast_to(np.cos(np.radians(xs)), (40, 720))
    target = Grid.of(4326, 175.2, 5.1, 0.37, 20, 26)

    out, out_valid = ours(target, longitudes, values, np.ones(values.shape, bool), method)

    assert out_valid.all()
    if method not in {"sum", "rms"}:
        expected = np.cos(np.radians(target.xs(target.window)))
        np.testing.assert_allclose(out, np.broadcast_to(expected, out.shape), atol=2e-3)


def test_a_source_of_0_to_360_serves_western_longitudes() -> None:
    source = Grid.of(4326, 0.0, 10.0, 1.0, 20, 360)
    values = np.broadcast_to(np.arange(360.0), (20, 360))
    target = Grid.of(4326, -3.0, 4.0, 1.0, 5, 6)

    out, out_valid = ours(target, source, values, np.ones(values.shape, bool), "near")
    smooth, _ = ours(target, source, values, np.ones(values.shape, bool), "cubicspline")

    assert out_valid.all()
    assert out[0].tolist() == [357, 358, 359, 0, 1, 2]
    np.testing.assert_array_equal(smooth, out)
