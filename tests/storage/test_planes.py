"""Stored numbers that are handed out undecoded mean what `read` gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from tests.storage.files import UTM33, field, fresh_reader, scene, write_tif

from terrazzo.cube import Plane, PlaneSource, Source
from terrazzo.cube.pixels import compute_dtype
from terrazzo.errors import SourceUnreadable
from terrazzo.geo.crs import transformer
from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.storage.source import SceneItem

EDGE = 150
LEFT, TOP = 500_000.0, 5_000_000.0


def applied(
    plane: Plane | None, shape: tuple[int, int], dtype: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (y, x) physical values, 0 where invalid, and their mask: what a kernel does."""
    if plane is None:
        return np.zeros(shape, dtype), np.zeros(shape, np.bool_)
    numbers, lookup = plane.numbers, plane.lookup
    valid = np.ones(numbers.shape, np.bool_) if plane.valid is None else plane.valid
    if plane.nodata is not None:
        valid = valid & (~np.isnan(numbers) if np.isnan(plane.nodata) else numbers != plane.nodata)
    physical = numbers
    if plane.scaled:
        kind = compute_dtype(numbers.dtype)
        physical = numbers.astype(kind) * kind.type(plane.scale) + kind.type(plane.offset)
    physical = physical.astype(dtype)
    if not lookup.direct:
        index = lookup.index
        if not index.size:
            rows, cols = lookup.rows[:, None], lookup.cols[None, :]
            index = np.where((rows < 0) | (cols < 0), -1, rows * lookup.window.width + cols)
        valid = np.where(index < 0, False, valid.ravel()[index])
        physical = physical.ravel()[index]
    return np.where(valid, physical, np.zeros((), dtype)), valid


def assert_planes_equal_the_read(source: RasterSource, grid: Grid, window: Window) -> None:
    for labels in ({}, {"t": (0,), "bands": (len(source.bands) - 1,)}):
        cube = source.read(grid, window, labels, "near")

        planes = source.planes(grid, window, labels)

        shape = cube.values.shape
        assert len(planes) == shape[0] * shape[1]
        for at, plane in enumerate(planes):
            values, valid = applied(plane, shape[2:], source.dtype)
            wanted = cube.values[divmod(at, shape[1])], cube.valid[divmod(at, shape[1])]
            np.testing.assert_array_equal(valid, wanted[1])
            np.testing.assert_array_equal(values[valid], wanted[0][valid])
            if plane is not None:
                assert plane.numbers.strides[1] == plane.numbers.itemsize
                assert not plane.numbers.flags.writeable
                window_shape = (plane.lookup.window.height, plane.lookup.window.width)
                assert plane.numbers.shape == window_shape
                assert plane.valid is None or plane.valid.shape == window_shape


@dataclass(frozen=True)
class Kind:
    """How a file of the drawn collections is made."""

    dtype: str = "uint16"
    nodata: float | None = 0
    scale: float = 1.0
    offset: float = 0.0
    mask: bool = False
    alpha: bool = False
    damaged: str = ""
    shift: float = 0.0
    crs: str = UTM33
    flipped: bool = False
    own_nodata: float | None = None


KINDS = {
    "plain": Kind(nodata=None),
    "no-data": Kind(),
    "reflectance": Kind(scale=0.0001, offset=-0.1),
    "whole offset": Kind(offset=-1000.0),
    "float": Kind(dtype="float32", nodata=float("nan"), scale=0.5),
    "bytes": Kind(dtype="uint8", nodata=300.0),
    "wide": Kind(dtype="int32", scale=0.1, nodata=-5.5),
    "masked": Kind(nodata=None, mask=True),
    "masked and given": Kind(nodata=None, mask=True, own_nodata=17.0),
    "alpha": Kind(dtype="uint8", nodata=None, alpha=True),
    "truncated": Kind(damaged="cut"),
    "with holes": Kind(damaged="holes"),
    "gone": Kind(damaged="gone"),
    "shifted": Kind(shift=3.0),
    "far": Kind(shift=90_000.0),
    "south up": Kind(flipped=True),
    "next zone": Kind(crs="EPSG:32634", shift=-455_000.0),
}


def made(folder: Path, name: str, seed: int, blocks: int, day: int) -> SceneItem:
    """Write a file of two bands once, and return its item."""
    kind = KINDS[name]
    path = folder / f"{name}-{seed}-{blocks}.tif"
    if not path.exists():
        pixels = np.stack([field(EDGE, EDGE, 3 * seed + n) for n in (0, 1)])
        pixels[0, 10 * seed : 30 + 10 * seed, :90] = 0
        pixels[1, :, 20 + seed : 45] = 17
        stored = (pixels % 256 if kind.dtype == "uint8" else pixels).astype(kind.dtype)
        if kind.nodata is not None and np.isnan(kind.nodata):
            stored = np.where(pixels == 0, np.nan, stored).astype(kind.dtype)
        options: dict[str, Any] = {"blockxsize": blocks, "blockysize": blocks}
        if kind.alpha:
            opaque = ((pixels[:1] % 3) > 0).astype(np.uint8) * 255
            stored = np.concatenate([stored, stored[:1], opaque])
            options |= {"photometric": "rgb", "alpha": "yes"}
        if kind.mask:
            options["mask"] = ((pixels[0] % 5) > 0).astype(np.uint8) * 255
        top = TOP - 10.0 * EDGE if kind.flipped else TOP
        transform = Affine(10, 0, LEFT + kind.shift, 0, 10 if kind.flipped else -10, top)
        write_tif(
            path,
            stored[:, ::-1] if kind.flipped else stored,
            nodata=kind.nodata if kind.nodata != 300 else None,
            transform=transform,
            crs=kind.crs,
            overviews=() if kind.damaged == "cut" else (2, 4),
            **options,
        )
        if kind.damaged == "cut":
            path.write_bytes(path.read_bytes()[:-9000])
        if kind.damaged == "holes":
            content = bytearray(path.read_bytes())
            content[5000:12_000] = b"\xff" * 7000
            path.write_bytes(content)
    item = scene(
        path,
        ("B1", "B2"),
        day=day,
        name=f"{name}-{seed}-{day}",
        scale=kind.scale,
        offset=kind.offset,
        nodata=kind.nodata if kind.nodata == 300 else kind.own_nodata,
        bbox=(15.0, 45.0, 15.1, 45.1),
    )
    if kind.damaged == "gone":
        gone = scene(folder / "gone.tif", ("B1", "B2"), day=day, name=item.id)
        return replace(gone, bbox=item.bbox)
    return item


def targets() -> st.SearchStrategy[tuple[Grid, Window]]:
    """Draw a grid, native or coarser or of another CRS, and a window of it, large or tiny."""

    def of(
        pixel: float, crs: str, row: int, col: int, height: int, width: int
    ) -> tuple[Grid, Window]:
        if crs == UTM33:
            grid = Grid.of(crs, LEFT - 40.0, TOP + 30.0, pixel, 400, 400)
        else:
            x, y = transformer(UTM33, crs).transform(LEFT, TOP)
            grid = Grid.of(crs, x - 300.0, y + 300.0, pixel, 400, 400)
        return grid, Window(row, col, height, width)

    return st.builds(
        of,
        st.sampled_from([5.0, 10.0, 20.0, 33.0, 45.0]),
        st.sampled_from([UTM33, "EPSG:3857"]),
        st.integers(-5, 130),
        st.integers(-5, 130),
        st.sampled_from([1, 3, 16, 64, 170]),
        st.sampled_from([1, 3, 16, 64, 170]),
    )


@settings(max_examples=120, deadline=None)
@given(
    drawn=st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 2), st.integers(0, 1)),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    blocks=st.sampled_from([32, 256]),
    target=targets(),
)
def test_planes_are_what_is_read(
    drawn: Sequence[tuple[str, int, int]],
    blocks: int,
    target: tuple[Grid, Window],
    tmp_path_factory,
):
    folder = tmp_path_factory.getbasetemp() / "planes"
    folder.mkdir(exist_ok=True)
    items = [made(folder, name, seed, blocks, day) for name, seed, day in drawn]
    sound = made(folder, "no-data", 2, blocks, 3)
    told: list[SourceUnreadable] = []
    source = RasterSource.of(
        [*items, sound], ("B1", "B2"), reader=fresh_reader(), on_bad=told.append
    )

    assert_planes_equal_the_read(source, *target)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_has_planes(name: str, tmp_path: Path):
    source = RasterSource.of(
        [made(tmp_path, name, 1, 64, 0), made(tmp_path, "plain", 0, 64, 1)],
        ("B1", "B2"),
        reader=fresh_reader(),
        on_bad=lambda _: None,
    )
    grid = Grid.of(UTM33, LEFT, TOP, 10.0, EDGE, EDGE)

    for window in (grid.window, Window(3, 5, 40, 30), Window(-20, -20, 60, 60)):
        assert_planes_equal_the_read(source, grid, window)


def test_a_window_in_one_internal_tile_is_not_copied(tmp_path: Path):
    source = RasterSource.of([made(tmp_path, "plain", 0, 256, 0)], ("B1",), reader=fresh_reader())
    grid = source.grid

    (first,) = source.planes(grid, Window(3, 4, 60, 70), {})
    (second,) = source.planes(grid, Window(10, 10, 60, 70), {})

    assert np.shares_memory(first.numbers, second.numbers)
    assert first.numbers.dtype == np.uint16
    assert first.lookup.direct


def test_images_of_one_day_on_one_lattice_stay_stored_numbers(tmp_path: Path):
    items = [made(tmp_path, "reflectance", seed, 64, 0) for seed in (0, 1)]
    source = RasterSource.of(items, ("B1",), reader=fresh_reader())

    (plane,) = source.planes(source.grid, source.extent, {})

    assert plane.numbers.dtype == np.uint16
    assert plane.scaled
    assert plane.nodata == 0
    assert plane.valid is None


def test_a_broken_file_that_nobody_is_told_of_is_an_error(tmp_path: Path):
    source = RasterSource.of(
        [made(tmp_path, "truncated", 0, 64, 0)], ("B1",), reader=fresh_reader()
    )

    with pytest.raises(SourceUnreadable, match="truncated"):
        source.planes(source.grid, source.extent, {})


def test_labels_without_pixels_there_have_no_plane(tmp_path: Path):
    items = [made(tmp_path, "plain", 0, 64, 0), made(tmp_path, "far", 0, 64, 1)]
    source = RasterSource.of(items, ("B1",), reader=fresh_reader())
    grid = Grid.of(UTM33, LEFT, TOP, 10.0, EDGE, EDGE)

    planes = source.planes(grid, Window(0, 0, 20, 20), {})
    nothing = source.planes(grid, Window(0, 0, 0, 0), {})

    assert planes[0] is not None
    assert planes[1] is None
    assert nothing == (None, None)


def test_a_raster_source_is_one_of_planes(tmp_path: Path):
    source: Source = RasterSource.of(
        [made(tmp_path, "plain", 0, 64, 0)], ("B1",), reader=fresh_reader()
    )

    assert isinstance(source, PlaneSource)
