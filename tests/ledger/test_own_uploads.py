"""What is read of files that people upload: within their quota, and there as long as it is used."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from terrazzo.drivers import uploads
from terrazzo.errors import ArgumentInvalid, FileNotFound, FormatUnsuitable, SourceUnreadable
from terrazzo.ledger import own_uploads
from terrazzo.ledger.files import QuotaExceeded
from terrazzo.ledger.own_uploads import OwnUploads
from terrazzo.processes.load import FileRequest, Uploaded, load_uploaded_files
from terrazzo.sandbox.closed import LIMITS, Answer
from terrazzo.storage.vectors.closed import Room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EDGE = 200
NAME = "a_20240501.tif"
PLENTY = 10**9
DAY, HOUR = 86_400, 3_600


def image(path: Path, edge: int = EDGE) -> bytes:
    with rasterio.open(
        path, "w", driver="GTiff", width=edge, height=edge, count=1, dtype="uint16",
        crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(1).integers(0, 60_000, (1, edge, edge), np.uint16))
    return path.read_bytes()


def put(mine: OwnUploads, name: str, content: bytes) -> None:
    begun = mine.files.upload(name, PLENTY)
    begun.write(content)
    begun.finish()


def wanted(*bands: str) -> Uploaded:
    return Uploaded((NAME,), "GTIFF", "", bands)


def kept(mine: OwnUploads, *bands: str) -> list[Path]:
    items = mine.images(wanted(*bands))[2]
    folder = mine.files.folder
    return [folder / asset["href"] for item in items for asset in item["assets"].values()]


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder, (then, then))


@pytest.fixture
def mine(tmp_path: Path) -> OwnUploads:
    return OwnUploads(tmp_path / "home", "u1", PLENTY)


@pytest.fixture
def small(mine: OwnUploads, tmp_path: Path) -> OwnUploads:
    put(mine, NAME, image(tmp_path / NAME, 4))
    return mine


def test_what_is_read_of_a_file_stays_within_the_quota(mine: OwnUploads, tmp_path: Path):
    put(mine, NAME, image(tmp_path / NAME))
    before = mine.files.used()

    with pytest.raises(QuotaExceeded, match="with what was read of them"):
        replace(mine, quota=before + before // 2).images(wanted())

    assert mine.files.used() == before
    mine.images(wanted())
    assert mine.files.used() > before + before // 2


def test_nothing_is_read_where_there_is_no_room(small: OwnUploads, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own_uploads, "take_in", partial(pytest.fail, "it was read"))

    with pytest.raises(QuotaExceeded):
        replace(small, quota=small.files.used()).images(wanted())


def test_what_was_read_counts_when_an_upload_ends(mine: OwnUploads):
    begun = mine.files.upload("b.bin", 1000)
    begun.write(bytes(600))
    folder = mine.files.taken_in("c.bin")
    folder.mkdir(parents=True)
    (folder / "0-0.tif").write_bytes(bytes(500))

    with pytest.raises(QuotaExceeded, match="1100 bytes"):
        begun.finish()


def test_all_that_one_graph_reads_of_a_file_stays(small: OwnUploads):
    found = [kept(small, f"b{number}") for number in range(6)]

    assert all(path.exists() for paths in found for path in paths)


def test_what_nobody_asked_for_since_a_day_makes_room(small: OwnUploads):
    [idle], [asked] = kept(small, "idle"), kept(small, "asked")
    for path in (idle, asked):
        age(path.parent, 2 * DAY)
    kept(small, "asked")

    kept(small, "new")

    assert not idle.parent.exists()
    assert asked.exists()


def test_what_was_read_of_an_earlier_state_makes_room(small: OwnUploads, tmp_path: Path):
    [earlier] = kept(small)
    small.files.find(NAME)[0].write_bytes(image(tmp_path / NAME, 5))

    [now] = kept(small)

    assert not earlier.exists()
    assert now.exists()


def test_what_a_killed_process_has_left_is_removed(small: OwnUploads):
    [path] = kept(small)
    old, young = (path.parent.with_name(f".{name}.part") for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "0-0.tif").write_bytes(bytes(10))
    age(old, 2 * HOUR)

    kept(small, "other")

    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_that_is_deleted_while_it_is_read_is_not_there(
    small: OwnUploads, monkeypatch: pytest.MonkeyPatch, when: str
):
    def take_in(source: Path, name: str, folder: Path, **options: Any) -> None:
        def remove(size: int) -> None:
            del size
            source.unlink(missing_ok=True)

        if when == "before":
            small.files.delete(NAME)
        uploads.take_in(source, name, folder, **{**options, "kept": remove})

    monkeypatch.setattr(own_uploads, "take_in", take_in)

    with pytest.raises(FileNotFound):
        small.images(wanted())

    assert small.files.used() == 0


def test_a_file_that_is_replaced_while_it_is_read_is_to_be_loaded_again(
    small: OwnUploads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def take_in(source: Path, name: str, folder: Path, **options: Any) -> None:
        uploads.take_in(source, name, folder, **options)
        source.write_bytes(image(tmp_path / NAME, 5))

    monkeypatch.setattr(own_uploads, "take_in", take_in)

    with pytest.raises(FileNotFound, match="was replaced while it was read"):
        small.images(wanted())

    monkeypatch.undo()
    assert all(path.exists() for path in kept(small))


def test_an_answer_that_is_too_deep_is_that_of_a_bad_file(
    small: OwnUploads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    @contextmanager
    def reading(*_: Any, **__: Any) -> Iterator[Answer]:
        (tmp_path / uploads.ANSWER).write_text("[" * 200_000 + "]" * 200_000)
        yield Answer({}, tmp_path)

    monkeypatch.setattr(uploads, "reading", reading)

    with pytest.raises(SourceUnreadable, match="upsets its reader"):
        small.images(wanted())


def points(mine: OwnUploads, *names: str) -> None:
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    document = {"type": "FeatureCollection", "features": [{**feature, "properties": {"n": 1}}]}
    for name in names:
        put(mine, name, json.dumps(document).encode())


def tables(mine: OwnUploads, *names: str, form: str = "GeoJSON") -> Any:
    request = load_uploaded_files(names, form, {})
    assert isinstance(request, FileRequest)
    assert request.uploaded
    return mine.tables(request.uploaded, request)


def test_a_file_of_geometries_that_is_named_twice_is_read_once(mine: OwnUploads):
    points(mine, "a.geojson", "b.geojson")

    found = tables(mine, "a.geojson", "b.geojson", "./a.geojson", "a.geojson")

    assert len(found) == len(("a.geojson", "b.geojson"))


def test_files_of_one_graph_share_what_they_may_become(
    mine: OwnUploads, monkeypatch: pytest.MonkeyPatch
):
    points(mine, "a.geojson", "b.geojson")
    whole = Room()
    monkeypatch.setattr(own_uploads, "Room", lambda: whole)
    tables(mine, "a.geojson")
    one = Room().left - whole.left
    monkeypatch.setattr(own_uploads, "Room", partial(Room, one * 3 // 2))

    alone = tables(mine, "a.geojson")

    assert len(alone) == 1
    with pytest.raises(ArgumentInvalid, match="Load fewer of them at once"):
        tables(mine, "a.geojson", "b.geojson")


def test_parts_of_a_shapefile_that_fill_the_folder_are_not_copied(
    mine: OwnUploads, monkeypatch: pytest.MonkeyPatch
):
    for suffix in ("shp", "dbf"):
        put(mine, f"a.{suffix}", b"\0\0\x27\x0a" + bytes(60))
    monkeypatch.setattr(own_uploads, "LIMITS", replace(LIMITS, scratch_bytes=100))

    with pytest.raises(FormatUnsuitable, match="128 bytes together, and may have 100"):
        tables(mine, "a.shp", "a.dbf", form="ESRI Shapefile")


def test_a_file_that_might_not_fit_is_not_begun(
    mine: OwnUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(mine, NAME, image(tmp_path / NAME))
    most = uploads.most_bytes(EDGE * EDGE, np.dtype(np.uint16))
    before = mine.files.used()
    monkeypatch.setattr(uploads, "write_cogs", partial(pytest.fail, "it was written"))

    with pytest.raises(QuotaExceeded):
        replace(mine, quota=before + most - 1).images(wanted())

    assert mine.files.used() == before


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_a_cog_has_no_more_bytes_than_were_reserved_for_it(
    mine: OwnUploads, tmp_path: Path, dtype: str
):
    noise = np.random.default_rng(2).bytes(700 * 700 * np.dtype(dtype).itemsize)
    with rasterio.open(
        tmp_path / NAME, "w", driver="GTiff", width=700, height=700, count=1, dtype=dtype,
        crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(np.frombuffer(noise, dtype).reshape(1, 700, 700))
    put(mine, NAME, (tmp_path / NAME).read_bytes())

    [made] = kept(mine)

    assert made.stat().st_size <= uploads.most_bytes(700 * 700, np.dtype(dtype))
