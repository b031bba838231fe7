"""Headers of files are read once, kept, told to others, and checked against the file."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.files import SINUSOIDAL, UTM33, field, fresh_reader, scene, write_tif

from terrazzo.geo.grid import Grid, Window
from terrazzo.storage.gate import Gate
from terrazzo.storage.headers import HEADER, Header, header_document, read_header
from terrazzo.storage.raster import RasterReader, default_reader, describe_for_item
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.source import SceneItem

FILES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-data": {"nodata": 0, "overviews": (2, 4)},
    "nan": {"dtype": "float32", "nodata": float("nan")},
    "strips": {"tiled": False, "blockysize": 3},
    "masked": {"mask": np.full((90, 70), 255, np.uint8), "overviews": (2,)},
    "sinusoidal": {"crs": SINUSOIDAL},
    "three": {"count": 3, "interleave": "pixel"},
}


def named(path: Path) -> AssetName:
    return Gate((path.parent,)).open_name(str(path), item=path.stem, asset="image")


def written(path: Path, options: dict[str, Any], seed: int = 0) -> Path:
    chosen = dict(options)
    count, dtype = chosen.pop("count", 1), chosen.pop("dtype", "uint16")
    pixels = np.stack([field(90, 70, seed + n) for n in range(count)]).astype(dtype)
    return write_tif(path, pixels, **chosen)


def told(item: SceneItem, header: Header) -> SceneItem:
    bands = tuple(replace(band, header=header) for band in item.bands)
    return replace(item, bands=bands)


@pytest.mark.parametrize("name", FILES)
def test_a_header_is_the_same_after_json(name: str, tmp_path: Path):
    asset = named(written(tmp_path / "a.tif", FILES[name]))
    header = fresh_reader().header(asset)

    again = read_header(json.loads(json.dumps(describe_for_item(asset)))[HEADER])

    assert repr(again) == repr(header)  # NaN is no NaN
    assert header.info == replace(fresh_reader().describe(asset), nodata=header.info.nodata)
    assert len(header.levels) == 1 + len(header.info.overviews)


@settings(max_examples=60)
@given(data=st.data())
def test_what_is_no_header_is_none(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.getbasetemp() / "header.tif"
    if not path.exists():
        write_tif(path, field(90, 70), overviews=(2,))
    document = header_document(fresh_reader().header(named(path)))
    key = data.draw(st.sampled_from(sorted(document)))
    wrong = st.sampled_from(
        [None, "text", [], [1], {}, -1, [["x"]], 1e400, [["uint99", 1, 1, 1, ""]]]
    )

    broken = copy.deepcopy(document) | {key: data.draw(wrong)}
    found = read_header(broken)

    assert found is None or isinstance(found, Header)
    assert read_header({k: v for k, v in document.items() if k != key}) is None
    assert read_header(broken["grid"]) is None


@pytest.mark.parametrize("name", FILES)
def test_a_told_header_spares_the_description(name: str, tmp_path: Path):
    path = written(tmp_path / "a.tif", FILES[name])
    asset = named(path)
    header = RasterReader().header(asset)
    reader = fresh_reader()

    image = reader.image(asset, header)
    level = len(image.info.overviews)
    lattice = image.lattice(level)
    opened = reader.handles.opened
    values, valid = image.read(level, [1], lattice.window)

    assert opened == 0
    assert reader.handles.opened == 1
    wanted = fresh_reader().read_window(asset, level, [1], lattice.window)
    np.testing.assert_array_equal(values, wanted[0])
    np.testing.assert_array_equal(valid, wanted[1])


def test_a_file_that_has_changed_since_is_described_anew(tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(90, 70), overviews=(2,))
    asset = named(path)
    header = fresh_reader().header(asset)
    write_tif(path, field(60, 50).astype(np.int32))
    os.utime(path, ns=(1, 1))

    image = fresh_reader().image(asset, header)

    assert image.info.dtypes == ("int32",)
    assert (image.lattice(0).height, image.lattice(0).width) == (60, 50)


@pytest.mark.parametrize(
    "lie", ["dtype", "size", "levels", "nodata", "place", "block", "overviews"]
)
def test_where_an_item_is_wrong_the_file_is_right(lie: str, tmp_path: Path):
    path = write_tif(tmp_path / "a.tif", field(256, 256), nodata=0, overviews=(2, 4))
    right = fresh_reader().header(named(path))
    item = scene(path, grid=right.info.grid, dtype="uint16")
    info, levels = right.info, right.levels
    wrong = {
        "dtype": replace(right, info=replace(info, dtypes=("uint8",))),
        "size": replace(right, levels=tuple(replace(one, height=one.height - 1) for one in levels)),
        "levels": replace(right, levels=(levels[0], levels[2], levels[1])),
        "nodata": replace(right, info=replace(info, nodata=(7.0,))),
        "place": replace(right, info=replace(info, grid=replace(info.grid, left=500_100.0))),
        "block": replace(right, levels=tuple(replace(one, block=(16, 16)) for one in levels)),
        "overviews": replace(
            right, info=replace(info, overviews=(2, 4, 8)), levels=(*levels, levels[2])
        ),
    }[lie]
    target = Grid.of(UTM33, 500_000.0, 5_000_000.0, 20.0 if lie != "overviews" else 80.0, 32, 32)
    sound = RasterSource.of([item], ("B",), reader=fresh_reader())
    misled = RasterSource.of([told(item, wrong)], ("B",), reader=fresh_reader())

    for method in ("near", "bilinear"):
        wanted = sound.read(target, target.window, {}, method)
        found = misled.read(target, target.window, {}, method)
        np.testing.assert_array_equal(found.values, wanted.values)
        np.testing.assert_array_equal(found.valid, wanted.valid)
    fresh = replace(misled, reader=fresh_reader())
    (plane,) = fresh.planes(target, target.window, {})
    (right_plane,) = sound.planes(target, target.window, {})
    np.testing.assert_array_equal(plane.numbers, right_plane.numbers)


def collection(folder: Path) -> RasterSource:
    """Return files of which nobody has told anything."""
    items = [
        scene(write_tif(folder / f"{day}.tif", field(200, 200, day), overviews=(2,)), day=day)
        for day in range(4)
    ]
    return RasterSource.of(items, ("B",))


def _opened_by_worker(source: RasterSource) -> tuple[int, int]:
    grid = Grid.of(UTM33, source.grid.left, source.grid.top, 20.0, 100, 100)
    for window in (Window(0, 0, 40, 40), Window(10, 10, 60, 60)):
        source.read(grid, window, {}, "near")
    return default_reader().handles.opened, os.getpid()


def test_workers_do_not_read_headers_again(tmp_path: Path):
    source = collection(tmp_path)
    context = multiprocessing.get_context("spawn")

    with ProcessPoolExecutor(2, mp_context=context) as pool:
        told = list(pool.map(_opened_by_worker, [pickle.loads(pickle.dumps(source))] * 4))  # noqa: S301 - ours

    by_worker = {process: opened for opened, process in told}
    assert set(by_worker.values()) == {len(source.items)}  # the overview of each file, once


def test_a_source_opens_each_level_once(tmp_path: Path):
    made = collection(tmp_path)
    items = [item for group in made.near(made.grid, made.extent, {}) for item in group]
    reader = fresh_reader()
    source = RasterSource.of(items, ("B",), reader=reader)

    for method in ("near", "bilinear"):
        source.read(source.grid, Window(0, 0, 150, 150), {}, method)
    source.planes(source.grid, Window(9, 9, 150, 150), {})

    assert reader.handles.opened == len(items)
