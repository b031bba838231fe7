"""Tallies of tiles: what is told of them, and what is listed for it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.described import FILE as DESCRIBED
from terrazzo.drivers.tiling import tallied
from terrazzo.drivers.tiling.tallied import ASIDE, FOLDER, TileTally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TILES = [f"T{number:02}" for number in range(30)]
LONG_AGO = (1_000_000_000, 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Watched(FolderDepot):
    """A folder that notes what is listed in it; or a bucket, which tells of no changes."""

    silent: bool = False
    listed: list[str] = field(default_factory=list)

    @override
    def names(self, below: str) -> Iterator[str]:
        self.listed.append(below)
        return FolderDepot.names(self, below)

    @override
    def folders(self, below: str) -> Iterator[tuple[str, int | None]]:
        for name, changed in FolderDepot.folders(self, below):
            yield name, None if self.silent else changed

    def take(self) -> list[str]:
        """Return what was listed since it was asked last."""
        found = sorted(self.listed)
        self.listed.clear()
        return found


def put(folder: Path, tile: str, *files: str, settled: bool = True) -> None:
    """Have files of a tile, the last change of which was a moment or long ago."""
    place = folder / FOLDER / tile
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    if settled:
        os.utime(place, LONG_AGO)


@pytest.mark.parametrize("silent", [False, True])
def test_it_is_known_what_was_begun_made_and_set_aside(tmp_path: Path, silent: bool):
    depot = Watched(tmp_path, silent)
    tally = TileTally(depot, TILES)
    tally.look()
    assert (tally.count, tally.begun, tally.made, tally.aside) == (30, set(), set(), set())

    put(tmp_path, "T00", ".blocks/0/0_0.block", "run.json", settled=False)
    put(tmp_path, "T01", "result.tif", DESCRIBED, settled=False)
    put(tmp_path, "T02", ASIDE, settled=False)
    put(tmp_path, "T03", f"inner/{DESCRIBED}", settled=False)  # of another run
    put(tmp_path, "of another run", DESCRIBED, settled=False)
    (tmp_path / FOLDER / "mosaic.vrt").touch()
    tally.look()
    assert tally.begun == {"T00", "T01", "T02", "T03"}
    assert (tally.made, tally.aside) == ({"T01"}, {"T02"})
    assert [tally.is_over(tile) for tile in TILES[:4]] == [False, True, True, False]

    put(tmp_path, "T00", DESCRIBED, settled=False)
    shutil.rmtree(tmp_path / FOLDER / "T01")
    tally.look()
    assert (tally.made, tally.aside) == ({"T00"}, {"T02"})
    put(tmp_path, "T01", "run.json", settled=False)
    tally.look()
    assert tally.begun == {"T00", "T01", "T02", "T03"}
    assert tally.made == {"T00"}


def test_folders_that_have_not_changed_are_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tallied, "SETTLED_NS", 10**12)  # a quarter of an hour is a moment
    depot = Watched(tmp_path)
    tally = TileTally(depot, TILES)
    for tile in TILES:
        put(tmp_path, tile, "run.json")

    tally.look()
    assert depot.take() == [FOLDER]
    tally.look()
    assert depot.take() == []

    put(tmp_path, "T07", DESCRIBED, settled=False)
    tally.look()
    assert depot.take() == [f"{FOLDER}/T07"]
    assert tally.made == {"T07"}
    tally.look()  # it changed a moment ago, and may have changed since without a trace
    assert depot.take() == [f"{FOLDER}/T07"]
    os.utime(tmp_path / FOLDER / "T07", LONG_AGO)
    for expected in ([f"{FOLDER}/T07"], []):
        tally.look()
        assert depot.take() == expected

    (tmp_path / FOLDER / "T07" / DESCRIBED).unlink()
    put(tmp_path, "T08", ASIDE, settled=False)
    tally.look()
    assert depot.take() == [f"{FOLDER}/T07", f"{FOLDER}/T08"]
    assert (tally.made, tally.aside) == (set(), {"T08"})


def test_where_nobody_tells_of_changes_only_what_is_in_work_is_listed(tmp_path: Path):
    depot = Watched(tmp_path, silent=True)
    tally = TileTally(depot, TILES)
    for tile in TILES[:-2]:
        put(tmp_path, tile, DESCRIBED)
    put(tmp_path, TILES[-1], ".blocks/0/0_0.block")

    tally.look()
    assert depot.take() == [FOLDER]
    for _ in range(2):
        tally.look()
        assert depot.take() == [f"{FOLDER}/{TILES[-1]}"]

    put(tmp_path, TILES[-1], ASIDE)
    for _ in range(2):  # another worker may make it yet
        tally.look()
        assert depot.take() == [f"{FOLDER}/{TILES[-1]}"]
    assert len(tally.made) == 28
    assert tally.aside == {TILES[-1]}

    put(tmp_path, TILES[-1], DESCRIBED)
    tally.look()
    assert depot.take() == [f"{FOLDER}/{TILES[-1]}"]
    tally.look()
    assert depot.take() == []
    assert len(tally.made) == 29
    assert tally.aside == set()
