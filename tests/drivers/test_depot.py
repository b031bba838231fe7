"""Where a run is kept: files that are whole or not there, and blocks that are counted cheaply."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typing_extensions import override

from terrazzo.cube import Cube
from terrazzo.drivers import block_names
from terrazzo.drivers import tally as tallies
from terrazzo.drivers.block_names import (
    BLOCKS,
    GROUP,
    all_ended,
    aside_name,
    aside_of,
    kept_name,
    kept_of,
)
from terrazzo.drivers.depot import FolderDepot, depot_of
from terrazzo.drivers.record import FAILED, RECORD, SKIPPED, RunRecord, Told
from terrazzo.drivers.tally import RESULTS, Tally
from terrazzo.errors import ArgumentInvalid, OutputFailed, RunDiffers
from terrazzo.geo.grid import Window
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def depot(tmp_path: Path) -> FolderDepot:
    return FolderDepot(tmp_path / "run")


def test_what_was_written_is_read_listed_and_deleted(depot: FolderDepot):
    depot.write("a.json", b"one", memoryview(b" two"), np.arange(3, dtype=np.uint8).data)
    depot.write("deep/er/b", b"")
    depot.write("deep/c", b"3")

    assert depot.read("a.json") == b"one two\0\1\2"
    assert depot.read("a.json", 3) == b"one"
    assert depot.read("deep/er/b") == b""
    assert depot.read("nothing") is None
    assert depot.read("a.json/below") is None
    assert (depot.has("deep"), depot.has("deep/c"), depot.has("d")) == (True, True, False)
    assert sorted(depot.names("deep")) == ["c", "er/b"]
    assert [name for name, _ in depot.folders("deep")] == ["er"]
    assert list(depot.names("none")) == list(depot.folders("none")) == []
    assert depot.size_of("deep") == 1
    depot.delete(["deep/c", "never/there"])
    assert list((depot / "deep").names("er")) == ["b"]
    assert list(depot.names("deep")) == ["er/b"]
    depot.clear("deep")
    depot.clear("deep")
    assert list(depot.names("")) == ["a.json"]


def test_a_depot_is_a_value_that_is_sent(depot: FolderDepot):
    sent = pickle.loads(pickle.dumps(depot))  # noqa: S301 - its own
    assert sent == depot == depot_of(depot.path)
    assert depot_of("here").absolute() == FolderDepot(Path("here").absolute())
    assert str(depot / "part") == str(depot.path / "part")
    assert depot.reason_against()
    depot.write("a", b"")
    assert not depot.reason_against()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EIO])
def test_what_cannot_be_written_leaves_what_was_there(
    depot: FolderDepot, monkeypatch: pytest.MonkeyPatch, number: int
):
    depot.write("a", b"before")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputFailed, match=r"'a' could not be written"):
        depot.write("a", b"after")

    assert depot.read("a") == b"before"
    assert os.listdir(depot.path) == ["a"]  # noqa: PTH208 - hidden ones, too


def test_parts_of_files_are_tidied_and_nothing_else(depot: FolderDepot):
    for name in ("x/.a.0123abcd.part", "x/a", "x/.hidden", "x/y/.b.ffffffff.part", "x/b.part"):
        depot.write(name, b"")

    depot.tidy("x")

    assert sorted(depot.names("x")) == [".hidden", "a", "b.part"]


class Hasty(FolderDepot):
    """Lists what goes before anybody can look at it, and what may not be looked at."""

    @override
    def names(self, below: str) -> Iterator[str]:
        yield from super().names(below)
        yield "gone"
        if (self.path / "closed").exists():
            yield "x" * 1000


def test_the_size_of_a_folder_that_is_written_into_is_that_of_its_whole_files(tmp_path: Path):
    depot = Hasty(tmp_path)
    depot.write("x/a", b"123")
    depot.write("x/deep/b", b"45")
    depot.write("x/deep/.b.0123abcd.part", b"of a writer that is at it still")

    assert depot.size_of("x") == 5
    depot.write("closed", b"")
    with pytest.raises(OutputFailed, match=r"cannot be read.*same command again"):
        depot.size_of("x")


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff", b"[]", b"5"])
def test_a_description_that_is_no_run_of_ours_is_told(depot: FolderDepot, content: bytes):
    depot.write(RECORD, content)

    with pytest.raises(RunDiffers, match=f"{RECORD}.* another folder with -o, or delete"):
        RunRecord.open(depot, {"digest": "x"})

    assert depot.read(RECORD) == content


@pytest.mark.parametrize("number", [0, 1, GROUP - 1, GROUP, 10_000_000])
@pytest.mark.parametrize("version", [1, 2**64 - 1])
def test_names_of_blocks_say_what_they_are(number: int, version: int):
    name, aside = kept_name(number, version), aside_name(number)

    assert name.startswith(f"{BLOCKS}/{number // GROUP}/")
    assert kept_of(name.rpartition("/")[2]) == (number, version)
    assert aside_of(aside.rpartition("/")[2]) == number
    assert kept_of(aside.rpartition("/")[2]) is aside_of(name.rpartition("/")[2]) is None


@pytest.mark.parametrize(
    "name", ["", ".block", "_.block", "1.block", "x_0123456789abcdef.block", "1_0123.block",
             ".1_0123456789abcdef.block.12345678.part", "1_0123456789abcdef.block.part",
             "1_00000000000000zz.block", "1_0x23456789abcdef.block", "1_0123456789ABCDEF.block",
             "01_0123456789abcdef.block", "-1.failed", ".failed"],
)  # fmt: skip
def test_other_names_are_of_no_block(name: str):
    assert kept_of(name) is None
    assert aside_of(name) is None


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> int:
    """Groups of a few blocks."""
    for module in (block_names, tallies):
        monkeypatch.setattr(module, "GROUP", 8)
    return 8


class Listed(FolderDepot):
    """Tells which folders were listed."""

    @override
    def names(self, below: str) -> Iterator[str]:
        LISTED.append(below.rpartition("/")[2])
        yield from super().names(below)


LISTED: list[str] = []


def listed(tally: Tally) -> set[str]:
    """Look, and return the groups that were listed for it."""
    LISTED.clear()
    tally.look()
    return set(LISTED)


def settle(depot: FolderDepot) -> None:
    """Let all folders of blocks have changed long ago."""
    for name, _ in depot.folders(BLOCKS):
        os.utime(depot.path / BLOCKS / name, (1, 1))


def test_a_tally_lists_what_may_have_changed_and_nothing_else(
    tmp_path: Path, group: int, monkeypatch: pytest.MonkeyPatch
):
    depot = Listed(tmp_path)
    count = 3 * group + 5
    for number in (*range(group), group + 1, 3 * group):
        depot.write(kept_name(number, 7))
    RunRecord(depot).set_aside(group, Window(0, 0, 1, 1), "broken")
    settle(depot)
    tally = RunRecord(depot).tally(count)

    assert listed(tally) == {"0", "1", "3"}
    assert listed(tally) == set()
    depot.write(kept_name(2 * group, 7))
    depot.write(kept_name(count, 7))  # of no block of this run
    with monkeypatch.context() as slowly:
        slowly.setattr(tallies, "SETTLED_NS", 2**63)
        assert listed(tally) == {"2", "3"}
        assert listed(tally) == {"2", "3"}  # they may have changed a moment ago
    settle(depot)
    listed(tally)
    assert listed(tally) == set()

    expected = np.zeros(count, np.bool_)
    expected[[*range(group), group + 1, 2 * group, 3 * group]] = True
    np.testing.assert_array_equal(tally.kept, expected)
    np.testing.assert_array_equal(np.flatnonzero(tally.aside), [group])
    assert tally.done == group + 3
    np.testing.assert_array_equal(RunRecord(depot).versions(count) != 0, expected)


def test_a_block_that_is_forgiven_or_dropped_is_not_there_any_more(depot: FolderDepot):
    record = RunRecord(depot)
    depot.write(kept_name(3, 9))
    record.set_aside(1, Window(0, 0, 1, 1), "broken")
    tally = record.tally(10)
    tally.look()
    before = np.flatnonzero(tally.kept).tolist(), np.flatnonzero(tally.aside).tolist()

    record.forgive()
    record.drop(3, 9)
    tally.look()

    assert before == ([3], [1])
    assert tally.done == tally.aside.sum() == 0


def test_all_blocks_of_a_finished_run_are_there(depot: FolderDepot):
    depot.write(RESULTS, b"{}")
    tally = RunRecord(depot).tally(7)

    tally.look()

    assert tally.done == 7


def test_a_run_has_ended_when_every_block_is_made_or_set_aside(depot: FolderDepot, group: int):
    count = group + 2
    for number in range(count - 1):
        depot.write(kept_name(number, 1))
    before = all_ended(depot.path, count)

    depot.write(aside_name(count - 1), b"{}")

    assert (before, all_ended(depot.path, count)) == (False, True)
    assert not all_ended(depot.path, count + 1)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../etc/x", "deep/er", "..", "", "a\0b", 5, None], ids=repr
)
def test_a_list_of_results_that_leads_out_of_its_folder_is_damaged(
    depot: FolderDepot, name: object
):
    one = {"file": name, "media_type": "", "time": ""}
    record = RunRecord(depot)
    depot.write("5", b"")

    depot.write(RESULTS, json.dumps({"version": "v", "results": [one], "log": []}).encode())

    with pytest.raises(ArgumentInvalid, match=f"{RESULTS} in .* is damaged"):
        record.results(lambda: "v")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"results": [{}]}', '{"results": 5}', '{"results": [], "log": [5]}']
)
def test_a_list_of_results_that_cannot_be_read_is_told(depot: FolderDepot, text: str):
    depot.write(RESULTS, text.encode())

    with pytest.raises(ArgumentInvalid, match=r"damaged: it cannot be read\. Delete it"):
        RunRecord(depot).results(lambda: "v")


class Shut(FolderDepot):
    """A folder that the system does not let us list."""

    def folders(self, below: str) -> Iterator[tuple[str, int | None]]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "scandir", _denied)
            yield from super().folders(below)


def _denied(path: Path) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_a_folder_that_may_not_be_listed_is_one_clear_error(tmp_path: Path):
    with pytest.raises(OutputFailed, match=r"x cannot be read.*same command again"):
        list(Shut(tmp_path).folders("x"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"5", b"{}", b'"a"', b"[1]", b'["a", null]']
)
def test_a_list_of_images_left_out_is_not_taken_for_empty_when_it_is_damaged(
    depot: FolderDepot, content: bytes
):
    record = RunRecord(depot)
    record.note_skipped(["one", "two"])
    assert record.left_out() == ("one", "two")
    depot.write(SKIPPED, content)

    with pytest.raises(ArgumentInvalid, match=f"{SKIPPED} in .* is damaged.*Delete {RESULTS}"):
        record.left_out()

    record.note_skipped([])  # of the run that is made again
    assert record.left_out() == ()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"5", b"[1]", b"null"])
def test_a_block_whose_note_is_damaged_is_told_as_set_aside(depot: FolderDepot, content: bytes):
    record = RunRecord(depot)
    record.set_aside(3, Window(1, 2, 4, 4), "broken")
    record.set_aside(GROUP, Window(8, 0, 4, 4), "broken, too")
    depot.write(aside_name(3), content)

    told = record.list_failed()

    assert [one["block"] for one in told] == [3, GROUP]
    assert "damaged" in told[0]["reason"]
    assert (told[1]["row"], told[1]["reason"]) == (8, "broken, too")
    listed = depot.read(FAILED)
    assert listed is not None
    assert [json.loads(line) for line in listed.splitlines()] == told
    record.forgive()
    assert record.aside() == set()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"{}\n", b"[]\n", b"\xff\n", b'{"dtype": "|u1", "shape": [9, 9]}\n12']
)
def test_a_damaged_block_is_one_clear_error_and_counts_as_missing(
    depot: FolderDepot, content: bytes
):
    record, name = RunRecord(depot), kept_name(3, 9)
    depot.write(name, content)

    told = record.told_of(3, 9)
    with pytest.raises(OutputFailed, match=r"3_0{15}9\.block in .* was damaged.*same command"):
        record.load(3, 9, HERE, PROBE)

    assert told is None
    assert not depot.has(name)
    assert not record.versions(5).any()


HERE = Window(0, 0, 2, 3)
PROBE = Cube(np.zeros((2, 3), np.uint8), np.ones((2, 3), np.bool_), (), None)


def block_of(values: np.ndarray) -> Cube:
    return Cube(values, values != 3, (), None)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.bool_, np.int64])
def test_a_block_is_loaded_as_it_was_kept(depot: FolderDepot, dtype: type):
    record, block = RunRecord(depot), block_of(np.arange(6).reshape(2, 3)[:, ::-1].astype(dtype))
    entry = Entry(Level.INFO, "seen")
    record.save(3, block, 9, ("bad",), (entry,))

    kept = record.load(3, 9, HERE, PROBE)

    np.testing.assert_array_equal(kept.cube.values, block.values)
    np.testing.assert_array_equal(kept.cube.valid, block.valid)
    assert kept.cube.values.dtype == block.values.dtype
    assert (kept.skipped, kept.log) == (("bad",), (entry,))
    assert record.told_of(3, 9) == Told(("bad",), (entry,))


def test_what_a_loss_of_power_has_left_of_a_block_counts_as_missing(depot: FolderDepot):
    """Whatever its first bytes are, and whatever is in place of the others."""
    record, path = RunRecord(depot), depot.path / kept_name(3, 9)
    record.save(3, block_of(np.arange(6, dtype=np.float32).reshape(2, 3)), 9)
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1

    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert record.told_of(3, 9) is None
        with pytest.raises(OutputFailed, match="was damaged"):
            record.load(3, 9, HERE, PROBE)
        assert not path.exists()
    for at in range(start, len(whole)):
        path.write_bytes(whole[:at] + bytes(len(whole) - at))
        if whole[at:].strip(b"\0"):
            with pytest.raises(OutputFailed, match="was damaged"):
                record.load(3, 9, HERE, PROBE)

    path.write_bytes(whole)
    np.testing.assert_array_equal(record.load(3, 9, HERE, PROBE).cube.values.ravel(), np.arange(6))


def test_only_what_can_be_made_again_is_not_waited_for(
    depot: FolderDepot, monkeypatch: pytest.MonkeyPatch
):
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    record = RunRecord.open(depot, {"digest": "x"})
    described = len(flushed)

    record.save(3, block_of(np.zeros((2, 3))), 9)
    kept = len(flushed)
    record.set_aside(4, HERE, "broken")

    assert (described, kept, len(flushed)) == (1, 1, 2)
