"""Images of other hosts in closed workers: the same pixels, and nothing of a worker is believed."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioIOError
from rasterio.transform import Affine
from tests.drivers.corrupt_files import damaged_data, good_jp2, huge, tiffs
from tests.storage.hostile import Hostile, hostile
from tests.storage.test_remote import cog

from terrazzo.errors import AssetForbidden, SourceUnreadable, UdfRefused
from terrazzo.geo.grid import Window
from terrazzo.sandbox import closed, pool
from terrazzo.sandbox.channel import SharedMemory
from terrazzo.sandbox.closed import Conversation
from terrazzo.sandbox.layers import Machine
from terrazzo.sandbox.pool import WorkersBusy
from terrazzo.storage import closed_dataset, closed_pixels, handles
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.closed_dataset import ClosedDataset
from terrazzo.storage.gate import AssetName, Gate
from terrazzo.storage.handles import HandlePool
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.remote import transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.storage.hostile import Handler

    from terrazzo.storage.remote.files import RemoteFile

EDGE = 300
PART = Window(40, 30, 200, 150)
INSIDE = Window(0, 0, EDGE, EDGE).slices(PART)
FULL, HALF = 0, 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr(transport, "PAUSE_S", 0.01)
    with hostile(b"") as told:
        yield told


@pytest.fixture
def no_gdal(monkeypatch: pytest.MonkeyPatch) -> None:
    """See that this process opens nothing."""

    def refused(*_: Any) -> None:
        raise AssertionError("opened in this process")

    monkeypatch.setattr(handles._RemoteDataset, "of", refused)
    monkeypatch.setattr(handles._Dataset, "__init__", refused)


def stranger(server: Hostile, name: str = "a.tif") -> AssetName:
    gate = Gate((), (server.host,), owner="anna").for_strangers()
    return gate.open_name(server.url(name), item="scene", asset="data")


def reader() -> RasterReader:
    return RasterReader(BlockCache(2**26), HandlePool(4))


def image(folder: Path, pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    """Return the bytes of a tiled GeoTIFF with an overview."""
    count, height, width = pixels.shape
    transform = options.pop("transform", Affine(10, 0, 5e5, 0, -10, 5e6))
    alpha, mask = options.pop("alpha", False), options.pop("mask", None)
    path = folder / "made.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, tiled=True,
            blockxsize=128, blockysize=128, dtype=pixels.dtype, crs="EPSG:32633",
            transform=transform, compress="deflate", **options,
        ) as file,
    ):  # fmt: skip
        file.write(pixels)
        if alpha:
            file.colorinterp = [*file.colorinterp[:-1], ColorInterp.alpha]
        if mask is not None:
            file.write_mask(mask)
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    content = path.read_bytes()
    path.unlink()
    return content


def numbers(dtype: str, count: int = 1) -> np.ndarray[Any, Any]:
    found = np.random.default_rng(5).integers(0, 200, (count, EDGE, EDGE))
    return found.astype(dtype)


KINDS: dict[str, dict[str, Any]] = {
    "bytes": {"dtype": "uint8"},
    "signed bytes": {"dtype": "int8"},
    "floats with NaN": {"dtype": "float32", "nodata": float("nan")},
    "large whole numbers": {"dtype": "int64", "nodata": -9999},
    "bands by pixel": {"dtype": "int16", "count": 3, "interleave": "pixel"},
    "bands by band": {"dtype": "uint16", "count": 3, "interleave": "band", "nodata": 7},
    "alpha": {"dtype": "uint8", "count": 2, "alpha": True},
    "mask": {"dtype": "uint16", "mask": True},
    "rows go north": {"dtype": "uint16", "transform": Affine(10, 0, 5e5, 0, 10, 4e6)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_header_are_those_that_this_process_reads(
    server: Hostile, tmp_path: Path, kind: str
):
    options = dict(KINDS[kind])
    pixels = numbers(options.pop("dtype"), options.pop("count", 1))
    if options.pop("mask", False):
        options["mask"] = np.tile(np.arange(EDGE) % 3 > 0, (EDGE, 1))
    server.content = image(tmp_path, pixels, **options)
    bands = range(1, len(pixels) + 1)
    known = Gate((), (server.host,)).open_name(server.url(), item="scene", asset="data")

    found, open_found = reader(), reader()

    assert repr(found.header(stranger(server))) == repr(open_found.header(known))
    for level, window in ((FULL, PART), (HALF, Window(5, 0, 100, 90))):
        closed_pixels = found.read_window(stranger(server), level, bands, window)
        open_pixels = open_found.read_window(known, level, bands, window)
        for mine, theirs in zip(closed_pixels, open_pixels, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.usefixtures("no_gdal")
def test_this_process_opens_nothing_of_a_stranger(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pixels = numbers("uint16")
    with monkeypatch.context() as undone:
        undone.undo()
        server.content = image(tmp_path, pixels)

    values, valid = reader().read_window(stranger(server), FULL, (1,), PART)

    np.testing.assert_array_equal(values[0], pixels[0][INSIDE])
    assert valid.all()


def test_jpeg_2000_is_read_in_the_worker_too(server: Hostile, tmp_path: Path):
    server.content = good_jp2(tmp_path)

    found = reader().describe(stranger(server, "a.jp2"))

    assert (found.grid.height, found.grid.width) == (512, 512)


@pytest.mark.parametrize("trusted", [True, False])
def test_only_what_ingestion_has_not_seen_is_closed(server: Hostile, trusted: bool, tmp_path: Path):
    gate = Gate((tmp_path,), (server.host,), trusted=trusted, owner="anna")

    ingested = gate.open_name(server.url())
    given = gate.for_strangers().open_name(server.url())
    local = gate.for_strangers().open_name(str(tmp_path / "a.tif"))

    assert (ingested.closed_for, local.closed_for) == (None, None)
    assert given.closed_for == (None if trusted else "anna")


def refused(handler: Handler) -> bool:
    handler.say(403, b"")
    return True


def redirected(handler: Handler) -> bool:
    handler.say(307, b"", Location="http://127.0.0.1:1/a.tif")
    return True


@pytest.mark.parametrize(
    ("behave", "kind", "said"),
    [
        (refused, SourceUnreadable, "refuses to give it"),
        (redirected, AssetForbidden, "redirects elsewhere"),
    ],
)
def test_what_a_server_does_not_give_is_told_in_its_words(
    server: Hostile, tmp_path: Path, behave: Callable[[Handler], bool], kind: Any, said: str
):
    server.content = image(tmp_path, numbers("uint16"))
    server.behave = behave

    with pytest.raises(kind, match=rf"'scene'.*'data'.*{said}"):
        reader().describe(stranger(server))


def test_a_file_that_is_replaced_while_it_is_read_is_no_mixture(server: Hostile, tmp_path: Path):
    server.content, _ = cog(tmp_path)
    one, asset = reader(), stranger(server)
    one.describe(asset)
    (tmp_path / "new").mkdir()
    server.content, pixels = cog(tmp_path / "new", seed=1)

    with pytest.raises(SourceUnreadable, match="replaced while it was read"):
        one.read_window(asset, FULL, (1,), PART)

    values, _ = one.read_window(asset, FULL, (1,), PART)
    np.testing.assert_array_equal(values[0], pixels[PART.row : 240, PART.col : 180])


def read_whole(asset: AssetName) -> None:
    one = reader()
    one.read_window(asset, FULL, (1,), one.describe(asset).grid.window)


def test_damaged_files_are_errors_of_the_item(server: Hostile, tmp_path: Path):
    cases = [*tiffs(tmp_path), *damaged_data(tmp_path), ("huge", huge())]
    chosen = [content for name, content in cases if name.split()[0] in {"cut", "65535", "huge"}]

    for content in chosen:
        server.content = content
        with pytest.raises(SourceUnreadable, match="'scene'") as told:
            read_whole(stranger(server))
        assert "vsi" not in str(told.value)


GOOD: dict[str, Any] = {
    "count": 1, "height": 10, "width": 10, "transform": ["10", "0", "5e5", "0", "-10", "5e6"],
    "crs": "EPSG:32633", "dtypes": ["uint8"], "nodata": [None], "scales": ["1"],
    "offsets": ["0"], "blocks": [[10, 10]], "masked": [False], "overviews": [],
    "descriptions": [""], "interleaving": "", "colours": [1],
}  # fmt: skip


@pytest.mark.parametrize(
    "forged",
    [
        {"count": 10**9}, {"count": True}, {"height": -1}, {"width": 2**40}, {"transform": []},
        {"transform": ["10", "0", "nan", "0", "-10", "5e6"]}, {"crs": 7}, {"crs": "x" * 10**6},
        {"crs": "+proj=pipeline +step +proj=cart"}, {"dtypes": ["object"]}, {"dtypes": []},
        {"nodata": ["x"]}, {"scales": None}, {"blocks": [[0, 0]]}, {"blocks": [[2**31, 2**31]]},
        {"overviews": [0]}, {"overviews": [2] * 1000}, {"descriptions": [["a"]]},
        {"interleaving": "across"}, {"colours": [10**6]},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_worker_says_is_not_believed(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: dict[str, Any]
):
    server.content = image(tmp_path, numbers("uint8"))
    monkeypatch.setattr(Conversation, "ask", lambda *_: GOOD | forged)

    with pytest.raises(SourceUnreadable, match="'scene'"):
        reader().read_window(stranger(server), FULL, (1,), Window(0, 0, 10, 10))


@pytest.mark.parametrize(
    "forged",
    [
        {"dtype": "float64", "shape": [1, 10, 10]},
        {"dtype": "object", "shape": [1, 10, 10]},
        {"dtype": "uint8", "shape": [1, 100, 100]},
        {},
    ],
    ids=str,
)
def test_pixels_of_another_shape_or_type_are_refused(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: dict[str, Any]
):
    server.content = image(tmp_path, numbers("uint8"))
    answers = iter([GOOD, GOOD, forged])
    monkeypatch.setattr(Conversation, "ask", lambda *_: next(answers))

    with pytest.raises(SourceUnreadable, match="upsets its reader"):
        reader().read_window(stranger(server), FULL, (1,), Window(0, 0, 10, 10))


@pytest.mark.parametrize(
    "asked",
    [
        {"offsets": [-1], "sizes": [1]}, {"offsets": [0], "sizes": [2**40]}, {"offsets": [0]},
        {"offsets": [], "sizes": []}, {"offsets": [0, 1], "sizes": [1]},
        {"offsets": [0] * 9, "sizes": [2**27] * 9}, {"offsets": "0", "sizes": [1]},
        {"offsets": [0] * 4097, "sizes": [0] * 4097},
    ],
    ids=lambda asked: str(asked)[:60],
)  # fmt: skip
def test_a_worker_is_given_parts_of_its_file_only(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
):
    server.content = image(tmp_path, numbers("uint8"))

    def ask(_: Conversation, __: Any, give: Callable[[Any], bytes], *___: Any) -> Any:
        give(asked)
        raise AssertionError("it was given something")

    monkeypatch.setattr(Conversation, "ask", ask)

    with pytest.raises(SourceUnreadable, match="upsets its reader"):
        reader().describe(stranger(server))


@pytest.mark.parametrize(
    "forged",
    [
        {
            "count": 3, "dtypes": ["uint8"] * 3, "nodata": [None] * 3, "scales": ["1"] * 3,
            "offsets": ["0"] * 3, "blocks": [[10, 10]] * 3, "masked": [False] * 3,
            "descriptions": [""] * 3, "colours": [1] * 3,
        },
        {"dtypes": ["complex128"]},
        {"blocks": [[5, 10]]},
        {"height": 9},
    ],
    ids=str,
)  # fmt: skip
def test_a_second_worker_may_not_tell_another_story(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: dict[str, Any]
):
    server.content = image(tmp_path, numbers("uint8"))
    answers = iter([GOOD, GOOD | forged])
    monkeypatch.setattr(Conversation, "ask", lambda *_: next(answers))

    with pytest.raises(SourceUnreadable, match="described otherwise than at first"):
        reader().read_window(stranger(server), FULL, (1,), Window(0, 0, 10, 10))


def opened(give: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> ClosedDataset:
    """Return a dataset whose worker does with what it is given as is told."""
    file = SimpleNamespace(
        size=2**40, failure=None, get_byte_ranges=lambda _, sizes: [b""] * len(sizes)
    )
    monkeypatch.setattr(Conversation, "__init__", lambda *_: None)
    monkeypatch.setattr(Conversation, "close", lambda *_: None)
    monkeypatch.setattr(Conversation, "ask", lambda _, __, ask, *___: give(ask))
    return ClosedDataset(cast("RemoteFile", file), "GTiff", FULL, "anna")


def test_no_memory_is_taken_for_more_than_a_read_may_have(monkeypatch: pytest.MonkeyPatch):
    many = 65_535
    forged = GOOD | {
        "count": many, "dtypes": ["complex128"] * many, "nodata": [None] * many,
        "scales": ["1"] * many, "offsets": ["0"] * many, "blocks": [[1, 1]] * many,
        "masked": [False] * many, "descriptions": [""] * many, "colours": [1] * many,
    }  # fmt: skip
    dataset = opened(lambda _: forged, monkeypatch)
    monkeypatch.setattr(closed_dataset, "SharedMemory", refuse_all)

    with pytest.raises(RasterioIOError, match="more memory than there is"):
        dataset.read(window=((0, 512), (0, 512)))


def refuse_all(size: int) -> None:
    raise AssertionError(f"{size} bytes were asked for")


def test_pixels_that_there_is_no_memory_for_are_an_error_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
):
    answers = iter([GOOD, {"dtype": "uint8", "shape": [1, 10, 10]}])
    dataset = opened(lambda _: next(answers), monkeypatch)

    class Full(SharedMemory):
        def array(self, *_: Any) -> Any:
            raise MemoryError

    monkeypatch.setattr(closed_dataset, "SharedMemory", Full)

    with pytest.raises(RasterioIOError, match="more memory than there is"):
        dataset.read([1], window=((0, 10), (0, 10)))


@pytest.mark.parametrize(
    ("count", "size", "counted"), [(4096, 1, closed_dataset.BLOCK), (4, 2**26, 2**26)]
)
def test_a_worker_asks_for_so_many_bytes_in_all(
    monkeypatch: pytest.MonkeyPatch, count: int, size: int, counted: int
):
    given = []

    def ask_for_ever(give: Callable[[Any], Any]) -> Any:
        while True:
            give({"offsets": [0] * count, "sizes": [size] * count})
            given.append(count * counted)

    with pytest.raises(RasterioIOError, match="upsets its reader"):
        opened(ask_for_ever, monkeypatch)

    assert sum(given) == 2**33


def test_parts_are_fetched_a_few_at_a_time_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch):
    asked = {"offsets": list(range(150)), "sizes": [1] * 150}
    fetched: list[int] = []

    def fetch(offsets: list[int], sizes: list[int]) -> list[bytes]:
        fetched.append(len(offsets))
        if len(fetched) == 5:
            dataset._until = 0.0
        return [b"x"] * len(sizes)

    dataset = opened(lambda _: GOOD, monkeypatch)
    dataset._until = math.inf
    monkeypatch.setattr(dataset._file, "get_byte_ranges", fetch)

    assert dataset._bytes(asked) == b"x" * 150
    with pytest.raises(RasterioIOError, match="takes too long"):
        dataset._bytes(asked)
    assert fetched == [64, 64, 22, 64, 64]


def test_a_worker_of_ours_asks_for_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(closed_pixels, "MOST_BYTES", 100)
    content = bytes(range(256)) * 40
    asked: list[list[int]] = []

    def ask(question: Any) -> bytes:
        asked.append(question["sizes"])
        pairs = zip(question["offsets"], question["sizes"], strict=True)
        return b"".join(content[at : at + size] for at, size in pairs)

    file = closed_pixels._Asked(ask, len(content))

    assert file.get_byte_ranges([5, 500, 0, 10_200], [60, 60, 150, 99]) == [
        content[5:65], content[500:560], content[:150], content[10_200:],
    ]  # fmt: skip
    assert asked == [[60], [60], [150], [40]]
    asked.clear()
    assert file.get_byte_ranges(range(9000), [0] * 9000) == [b""] * 9000
    assert [len(sizes) for sizes in asked] == [4096, 4096, 808]


def test_a_machine_that_shuts_nobody_in_says_what_an_operator_may_do(
    server: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.content = image(tmp_path, numbers("uint8"))
    monkeypatch.setattr(closed_dataset, "LIMITS", replace(closed_dataset.LIMITS, idle_seconds=1.0))
    for module in (pool, closed_dataset):
        monkeypatch.setattr(module, "this_machine", lambda: Machine("darwin"))
    known = Gate((), (server.host,), trusted=True).for_strangers().open_name(server.url())

    with pytest.raises(UdfRefused, match=r"workers need Linux, .* darwin.*`terrazzo --udf trusted"):
        reader().describe(stranger(server))
    assert reader().describe(known).grid.height == EDGE


def test_an_account_has_some_of_the_workers_and_others_the_rest():
    short = replace(closed_dataset.LIMITS, wait_seconds=0.2, each=1, workers=2)
    program = closed_dataset.PROGRAM
    first = Conversation(program, short, "anna")

    with pytest.raises(WorkersBusy, match="Ask again"):
        Conversation(program, short, "anna")
    second = Conversation(program, short, "bert")
    with pytest.raises(WorkersBusy):
        Conversation(program, short, "carl")
    first.close()
    third = Conversation(program, short, "anna")

    for one in (second, third):
        one.close()
    closed._pool(program, short, sealed=True).close()
