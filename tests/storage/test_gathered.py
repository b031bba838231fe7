"""Images of a source as columns: equal to the images themselves, wherever the rest is kept."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from tests.storage.files import NOON, UTM33, field, fresh_reader, scene, write_tif

from terrazzo.errors import SourceUnreadable
from terrazzo.geo.grid import Grid, Window, transform_bounds
from terrazzo.geo.tiling import web_mercator
from terrazzo.geo.times import format_time, solar_day
from terrazzo.storage import gathered
from terrazzo.storage.gate import Gate
from terrazzo.storage.kinds import meaning_of
from terrazzo.storage.source import AssetBand, RasterSource, SceneItem
from terrazzo.storage.target import Reach
from terrazzo.storage.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FOLDER = Path("/nowhere")
GATE = Gate((FOLDER,))
EVENING = datetime(2020, 6, 1, 22, 0, tzinfo=UTC)


class Known:
    """Finds images again, and remembers which were asked for."""

    def __init__(self, items: Iterable[SceneItem]) -> None:
        self.items = {item.id: item for item in items}
        self.asked: list[str] = []

    def __call__(self, ids: Sequence[str]) -> list[SceneItem]:
        self.asked += ids
        return [self.items[name] for name in sorted(ids, reverse=True) if name in self.items]


def stated(
    name: str,
    time: datetime,
    grids: Sequence[Grid | None],
    west: float = 15.0,
    dtypes: Sequence[str] = ("uint16", "uint16"),
) -> SceneItem:
    """Make an image that says of itself what there is to know, without a file."""
    bands = tuple(
        AssetBand(
            f"B{n}", GATE.open_name(f"/nowhere/{name}_{n}.tif", item=name, asset=f"B{n}"),
            grid=grid, dtype=dtype,
        )
        for n, (grid, dtype) in enumerate(zip(grids, dtypes, strict=False))
    )  # fmt: skip
    return SceneItem(name, time, bands, (west, 40.0, west + 1.0, 41.0))


def groups_of(items: Iterable[SceneItem]) -> list[list[SceneItem]]:
    """Group images the slow way: as the documentation says it."""
    days: dict[object, list[SceneItem]] = {}
    for item in sorted(items, key=lambda item: (item.time, item.id)):
        days.setdefault(solar_day(item.time, item.longitude), []).append(item)
    starts: dict[datetime, list[SceneItem]] = {}
    for group in days.values():
        starts.setdefault(group[0].time, []).extend(group)
    ordered = [sorted(group, key=lambda item: (item.time, item.id)) for group in starts.values()]
    return sorted(ordered, key=lambda group: (group[0].time, group[0].id))


def lattice_of(items: Sequence[SceneItem]) -> Grid:
    """Return the native lattice the slow way."""
    finest = [min((b.grid for b in i.bands if b.grid), key=lambda g: g.pixel_metres) for i in items]
    crs = Counter(grid.crs for grid in finest).most_common(1)[0][0]
    base = next(grid for grid in finest if grid.crs == crs)
    extent = Window(0, 0, 0, 0)
    for grid in (band.grid for item in items for band in item.bands if band.grid):
        shift = base.offset_of(grid)
        window = base.window_of(transform_bounds(grid.bounds, grid.crs, crs))
        if shift is not None:
            window = Window(*shift, grid.height, grid.width)
        extent = extent.union(window)
    return base.crop(extent)


grids = st.builds(
    Grid,
    st.sampled_from([UTM33, "EPSG:32632", "EPSG:32634"]),
    st.sampled_from([400_000.0, 500_000.0, 500_005.0]),
    st.sampled_from([4_500_000.0, 4_600_000.0]),
    *[st.sampled_from([10.0, 20.0])] * 2,
    *[st.integers(50, 60)] * 2,
)
images = st.lists(
    st.tuples(
        st.text("ab0ßé\U0001f600", min_size=1, max_size=4),
        st.integers(0, 60).map(lambda n: EVENING + timedelta(minutes=37 * (n // 2))),
        st.tuples(grids, st.none() | grids),
        st.sampled_from([-179.5, -20.0, 15.0, 178.5]),
    ),
    min_size=1, max_size=12, unique_by=lambda image: image[0],
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(found=images)
def test_order_labels_and_lattice_are_those_of_the_images(found):
    items = [stated(*image) for image in found]
    groups = groups_of(items)
    ordered = [item for group in groups for item in group]

    source = RasterSource.of(items, ("B0", "B1"), reader=fresh_reader())

    assert source.scenes.labels == tuple(format_time(group[0].time) for group in groups)
    assert tuple(source.items) == tuple(item.id for item in ordered)
    for at, group in enumerate(groups):
        assert source.items_of({"t": (at,)}) == tuple(item.id for item in group)
    assert source.grid == lattice_of(ordered)
    near = source.near(source.grid, source.extent, {})
    # What is outside the window by its own bounds only may be left out.
    assert [[item.id for item in group] for group in near] == [
        [item.id for item in group if touched(source, item)] for group in groups
    ]


def touched(source: RasterSource, item: SceneItem) -> bool:
    """Tell whether an image can have pixels in a source, asked one by one."""
    reach = Reach(source.grid, source.extent)
    outlines = [(b.grid.bounds, b.grid.crs) for b in item.bands if b.grid is not None]
    west, south, east, north = item.bbox
    box = ((west, south, east, north), "EPSG:4326")
    return any(map(reach.touches, outlines + [box for b in item.bands if b.grid is None]))


@settings(max_examples=200, deadline=None)
@given(
    crs=st.sampled_from(["EPSG:4326", UTM33, "EPSG:3857", "EPSG:3035"]),
    window=st.tuples(*[st.integers(-300, 300)] * 2, *[st.integers(1, 600)] * 2),
    boxes=st.lists(
        st.tuples(
            st.floats(-170, 350), st.floats(-80, 80), st.floats(0.001, 60), st.floats(0.001, 60)
        ),
        max_size=8,
    ),
)
def test_many_images_are_told_apart_as_one_by_one(crs, window, boxes):
    grid, zoom = web_mercator(256).grid(7), Window(*window)
    mercator = Window(zoom.row + 12_000, zoom.col + 17_000, zoom.height, zoom.width)
    bounds = [(w, s, w + width, min(s + height, 89.0)) for w, s, width, height in boxes]
    if crs != "EPSG:4326":
        lonlat = ((5 + w / 60, 45 + s / 60, 0.1 + a / 10, 0.1 + b / 10) for w, s, a, b in boxes)
        bounds = [transform_bounds((w, s, w + a, s + b), "EPSG:4326", crs) for w, s, a, b in lonlat]

    for target, here in ((grid, mercator), (Grid.of(UTM33, 4e5, 5e6, 1e3, 300, 300), zoom)):
        found = Reach(target, here).touching(np.array(bounds).reshape(-1, 4), crs)
        one_by_one = [Reach(target, here).touches((box, crs)) for box in bounds]
        assert found.tolist() == one_by_one


def far_and_near(folder: Path) -> list[SceneItem]:
    """Return images of six days at three places, two of which overlap; one of another CRS."""
    items = []
    for day in range(6):
        for at, left in enumerate((500_000, 500_700, 600_000)):
            path = folder / f"{day}-{at}.tif"
            pixels = field(128, 128, day * 3 + at)
            pixels[:, : 10 * at] = 0
            crs = "EPSG:32634" if day == 3 else UTM33
            transform = Affine(10, 0, left - (470_000 if day == 3 else 0), 0, -10, 5_000_000)
            write_tif(path, pixels, nodata=0, crs=crs, transform=transform)
            items.append(scene(path, day=day))
    return items


def source_of(items: Sequence[SceneItem], look_up: Callable | None, **options) -> RasterSource:
    return RasterSource.of(items, ("B",), reader=fresh_reader(), look_up=look_up, **options)


@pytest.mark.parametrize("kept", [0, 1, 5, 1000])
def test_images_that_are_looked_up_give_the_same(tmp_path: Path, monkeypatch, kept: int):
    items = far_and_near(tmp_path)
    whole = source_of(items, None)
    monkeypatch.setattr(gathered, "KEPT", kept)
    monkeypatch.setattr(gathered, "AT_ONCE", 4)
    known = Known(items)
    few = source_of(items, known)

    assert few.probe.dimensions == whole.probe.dimensions
    assert (few.grid, few.extent, few.dtype) == (whole.grid, whole.extent, whole.dtype)
    assert tuple(few.items) == tuple(whole.items)
    windows = [Window(0, 0, 50, 60), Window(20, 40, 100, 120), Window(60, 9_900, 70, 300)]
    tile = Grid.of("EPSG:3857", 1_669_000.0, 5_641_000.0, 30.0, 200, 200)
    for grid, window in [(whole.grid, w) for w in windows] + [(tile, tile.window)]:
        for labels in ({}, {"t": (3, 1)}, {"t": ()}):
            assert few.cost(grid, window, labels, "near") == whole.cost(
                grid, window, labels, "near"
            )
            assert few.version(grid, window, labels) == whole.version(grid, window, labels)
            for method in ("near", "bilinear"):
                one = few.read(grid, window, labels, method)
                other = whole.read(grid, window, labels, method)
                assert one.dimensions == other.dimensions
                np.testing.assert_array_equal(one.values, other.values)
                np.testing.assert_array_equal(one.valid, other.valid)
    assert bool(known.asked) == (kept < len(items))


def test_a_window_looks_up_what_it_touches_and_no_more(tmp_path: Path, monkeypatch):
    items = far_and_near(tmp_path)
    monkeypatch.setattr(gathered, "KEPT", 0)
    known = Known(items)
    source = source_of(items, known)
    window = source.grid.window_of((601_000.0, 4_999_500.0, 601_200.0, 4_999_800.0))

    source.read(source.grid, window, {"t": (0, 1, 2)}, "near")

    assert known.asked == ["0-2", "1-2", "2-2"]


def test_an_image_that_is_gone_is_told(tmp_path: Path, monkeypatch):
    items = far_and_near(tmp_path)
    monkeypatch.setattr(gathered, "KEPT", 0)
    told: list[SourceUnreadable] = []
    strict = source_of(items, Known(items[:-3]))
    lenient = source_of(items, Known(items[:-3]), on_bad=told.append)
    window = Window(0, 0, 100, 100)

    with pytest.raises(SourceUnreadable, match=r"'5-0'.*deleted"):
        strict.read(strict.grid, window, {}, "near")
    unread = source_of(items, None).version(strict.grid, window, {})
    assert strict.version(strict.grid, window, {}) == unread  # it is of what was looked at
    cube = lenient.read(lenient.grid, window, {}, "near")
    lenient.read(lenient.grid, window, {}, "near")

    assert lenient.bad_items == ("5-0", "5-1")
    assert [error.item for error in told] == ["5-0", "5-1"]
    assert cube.valid[:5].any(axis=(1, 2, 3)).tolist() == [True, True, True, False, True]
    assert not cube.valid[5].any()


@settings(max_examples=100, deadline=None)
@given(found=images, chosen=st.sampled_from([(), (0,), (1,), (0, 1)]), data=st.data())
def test_versions_of_columns_are_those_of_the_images(found, chosen, data):
    items = [
        replace(item, bands=tuple(replace(band, **data.draw(meanings)) for band in item.bands))
        for item in (stated(*image) for image in found)
    ]
    columns = RasterSource.of(items, ("B0", "B1"), reader=fresh_reader())
    images_alone = replace(columns, scenes=replace(columns.scenes, files=None))
    labels = {"bands": chosen} if chosen else {}

    for window in (columns.extent, Window(0, 0, 7, 9)):
        version = columns.version(columns.grid, window, labels)
        assert version == images_alone.version(columns.grid, window, labels)


@pytest.mark.parametrize("mark", ["\n", "\x01", "\x02"])
def test_a_link_to_an_odd_name_makes_no_other_version(tmp_path: Path, mark: str):
    grid = Grid(UTM33, 500_000.0, 4_500_000.0, 10.0, 10.0, 50, 50)
    gate, items = Gate((tmp_path,)), [stated(name, EVENING, (grid, grid)) for name in "abc"]
    (tmp_path / "link.tif").symlink_to(tmp_path / f"odd{mark}name.tif")
    linked = replace(items[1].bands[0], asset=gate.open_name(f"{tmp_path}/link.tif"))
    items[1] = replace(items[1], bands=(linked, items[1].bands[1]))

    def version() -> str:
        source = RasterSource.of(items, ("B0", "B1"), reader=fresh_reader())
        return source.version(source.grid, source.extent, {})

    before = version()
    assert version() == before
    (tmp_path / f"odd{mark}name.tif").write_bytes(b"there")
    assert version() != before


def test_zero_has_no_sign_in_versions():
    made = meaning_of.__wrapped__  # the cache takes both for one, whichever came first

    assert made(1, "None", 1.0, -0.0) == made(1, "None", 1.0, 0.0)


meanings = st.fixed_dictionaries(
    {},
    optional={
        "nodata": st.sampled_from([0.0, float("nan"), -9999.0]),
        "scale": st.sampled_from([1.0, 0.1]),
        "index": st.sampled_from([1, 2]),
        "checksum": st.sampled_from(["1220ab", ""]),
        "asset": st.sampled_from([GATE.open_name("/nowhere/both.tif")]),
    },
)
changes = st.sampled_from(
    [
        {"nodata": -1.0}, {"scale": 0.5}, {"offset": -0.1}, {"index": 3}, {"checksum": "1220cd"},
        {"asset": GATE.open_name("/nowhere/elsewhere.tif")},
    ]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(found=images, change=changes, data=st.data())
def test_versions_change_with_any_image(found, change, data):
    items = [stated(*image) for image in found]
    at = data.draw(st.integers(0, len(items) - 1))
    changed = replace(
        items[at], bands=(replace(items[at].bands[0], **change), *items[at].bands[1:])
    )
    others = [*items[:at], *items[at + 1 :]]
    added = replace(items[at], id=f"{items[at].id}+")
    grid, everything = items[at].bands[0].grid, Window(-(10**6), -(10**6), 2 * 10**6, 2 * 10**6)

    def version(of: Sequence[SceneItem]) -> str:
        source = RasterSource.of(of, ("B0", "B1"), reader=fresh_reader())
        return source.version(grid, everything, {})

    before = version(items)
    assert version([*others, items[at]]) == before
    assert version([*others, changed]) != before
    assert version([*items, added]) != before
    if others:
        assert version(others) != before


def test_a_source_is_sent_without_what_can_be_looked_up(tmp_path: Path, monkeypatch):
    items = far_and_near(tmp_path)
    monkeypatch.setattr(gathered, "KEPT", 1000)
    source = source_of(items, Known(items))
    source.read(source.grid, Window(0, 0, 100, 100), {}, "near")

    sent = pickle.loads(pickle.dumps(source))  # noqa: S301 - ours

    assert not sent.scenes.shelf._kept
    assert not sent.scenes._touched
    one, other = (s.read(s.grid, Window(20, 20, 200, 100), {}, "near") for s in (sent, source))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.valid, other.valid)


def test_images_in_a_place_take_little_memory_together():
    """What is kept of an image is its id and a few numbers."""
    grid = Grid.of(UTM33, 500_000.0, 5_000_000.0, 10.0, 100, 100)
    items = (
        stated(f"image-{n:06d}", NOON + timedelta(hours=n), (grid, grid)) for n in range(20_000)
    )
    known = Known(())

    source = RasterSource.of(items, ("B0", "B1"), reader=fresh_reader(), look_up=known)

    assert len(pickle.dumps(source.scenes)) < 20_000 * 60
    assert len(source.scenes.shelf._kept) == gathered.KEPT


@given(texts=st.lists(st.text()))
def test_texts_are_texts(texts: list[str]):
    packed = pickle.loads(pickle.dumps(Texts(texts)))  # noqa: S301 - ours

    assert list(packed) == texts
    assert len(packed) == len(texts)
    assert [packed[at] for at in range(-len(texts), len(texts))] == texts + texts
    assert packed[1:3] == tuple(texts[1:3])
    for beyond in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            packed[beyond]
