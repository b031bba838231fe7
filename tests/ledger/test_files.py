"""Files that people upload: whole or not there, within bounds, nowhere else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terrazzo.errors import FileNotFound
from terrazzo.ledger import files
from terrazzo.ledger.files import FilePathInvalid, FolderGiven, QuotaExceeded, UserFiles

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.ledger.files import StoredFile

QUOTA = 1000
BAD_PATHS = (
    "", "/", "/etc/passwd", "//a", "a//b", "a/", "..", ".", "../a", "a/../b", "a/..", "a/./b",
    ".hidden", "a/.hidden", ".parts/x", ".lock", "a\0b", "a\nb", "a\x7fb", "a\\b", "..\\a",
    "\u202ea", " a", "a ", "a/ b", "x" * 201, "ü" * 101, "\ud800", "/".join("a" * 21),
    "/".join(["x" * 100] * 11),
)  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path) -> UserFiles:
    return UserFiles(tmp_path / "home", "u1")


def put(mine: UserFiles, path: str, content: bytes = b"abc", quota: int = QUOTA) -> StoredFile:
    begun = mine.upload(path, quota)
    try:
        begun.write(content)
        return begun.finish()
    finally:
        begun.drop()


def names(mine: UserFiles) -> list[str]:
    return [one.path for one in mine.listed()]


def on_disk(mine: UserFiles) -> set[str]:
    """Return all files that there are, but for the lock."""
    found = (path for path in mine.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(mine.folder)) for path in found} - {".lock"}


def test_what_was_uploaded_can_be_found(mine: UserFiles):
    told = put(mine, "borders/europe.geojson", b"{}")

    place, found = mine.find("borders/europe.geojson")

    assert place.read_bytes() == b"{}"
    assert told == found
    assert (found.path, found.size) == ("borders/europe.geojson", 2)
    assert found.modified.endswith("Z")
    assert abs(time.time() - place.stat().st_mtime) < 3600


def test_files_are_listed_in_order_and_in_pages(mine: UserFiles):
    for path in ("b", "a/c", "a.txt", "a/b/c", "Z"):
        put(mine, path)

    assert names(mine) == sorted(["b", "a/c", "a.txt", "a/b/c", "Z"])
    assert [one.path for one in mine.listed(2, "a.txt")] == ["a/b/c", "a/c"]
    assert mine.listed(2, "z") == []


def test_somebody_who_never_uploaded_has_no_files(mine: UserFiles):
    assert names(mine) == []
    assert mine.used() == 0
    with pytest.raises(FileNotFound):
        mine.find("a")
    with pytest.raises(FileNotFound):
        mine.delete("a")


def test_another_account_has_other_files(mine: UserFiles, tmp_path: Path):
    put(mine, "a")

    theirs = UserFiles(tmp_path / "home", "u2")

    assert names(theirs) == []
    for path in ("a", "u1/a"):
        with pytest.raises(FileNotFound):
            theirs.find(path)


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_leads_nowhere_else(mine: UserFiles, path: str):
    put(mine, "a")
    with pytest.raises(FilePathInvalid):
        mine.upload(path, QUOTA)
    with pytest.raises(FilePathInvalid):
        mine.find(path)
    with pytest.raises(FilePathInvalid):
        mine.delete(path)

    assert on_disk(mine) == {"a"}


@given(path=st.text(st.sampled_from("abü/\\.. \0\n~$%*:|'\"-\u202e\ufeff"), max_size=12))
@example("~/x")
@example("$HOME")
@example("C:/x")
def test_whatever_is_written_is_inside(tmp_path_factory: pytest.TempPathFactory, path: str):
    home = tmp_path_factory.mktemp("home")
    mine = UserFiles(home, "u1")

    try:
        told = put(mine, path)
    except FilePathInvalid:
        assert on_disk(mine) == set()
        return

    assert names(mine) == [told.path]
    assert on_disk(mine) == {told.path}
    assert {entry.name for entry in home.iterdir()} == {"files"}
    assert {entry.name for entry in (home / "files").iterdir()} == {"u1"}


def test_letters_that_look_the_same_name_the_same_file(mine: UserFiles):
    put(mine, "u\u0308ber.txt", b"old")

    put(mine, "\u00fcber.txt", b"new")

    assert names(mine) == ["\u00fcber.txt"]
    assert mine.find("u\u0308ber.txt")[0].read_bytes() == b"new"


def test_links_are_not_followed(mine: UserFiles, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    put(mine, "a")
    (mine.folder / "link").symlink_to(outside / "secret")
    (mine.folder / "folder").symlink_to(outside)

    assert names(mine) == ["a"]
    assert mine.used() == 3
    for path in ("link", "folder/secret", "folder"):
        with pytest.raises(FileNotFound):
            mine.find(path)
        with pytest.raises(FileNotFound):
            mine.delete(path)
    with pytest.raises(FilePathInvalid, match="'folder' is a file"):
        mine.upload("folder/new", QUOTA)
    put(mine, "link", b"mine")

    assert (outside / "secret").read_text() == "secret"
    assert [entry.name for entry in outside.iterdir()] == ["secret"]
    assert mine.find("link")[0].read_bytes() == b"mine"


def test_what_is_no_file_is_not_there(mine: UserFiles):
    put(mine, "a")
    os.mkfifo(mine.folder / "pipe")

    assert names(mine) == ["a"]
    with pytest.raises(FileNotFound):
        mine.find("pipe")


def test_a_folder_is_no_file(mine: UserFiles):
    put(mine, "a/b")

    with pytest.raises(FolderGiven, match="'a' is a folder"):
        mine.find("a")
    with pytest.raises(FolderGiven):
        mine.delete("a")
    with pytest.raises(FolderGiven):
        mine.upload("a", QUOTA)
    with pytest.raises(FilePathInvalid, match="'a/b' is a file"):
        mine.upload("a/b/c", QUOTA)
    assert names(mine) == ["a/b"]


def test_empty_folders_go_with_their_last_file(mine: UserFiles):
    put(mine, "a/b/c/d")
    put(mine, "a/e")

    mine.delete("a/b/c/d")

    assert {path.name for path in mine.folder.iterdir() if not path.name.startswith(".")} == {"a"}
    assert [path.name for path in (mine.folder / "a").iterdir()] == ["e"]
    mine.delete("a/e")
    assert names(mine) == []
    assert not (mine.folder / "a").exists()


def test_nothing_is_seen_of_an_upload_before_its_end(mine: UserFiles):
    put(mine, "a", b"old")
    begun = mine.upload("a", QUOTA)
    begun.write(b"half of the new one")

    assert mine.find("a")[0].read_bytes() == b"old"
    assert names(mine) == ["a"]

    begun.finish()
    begun.drop()

    assert mine.find("a")[0].read_bytes() == b"half of the new one"
    assert on_disk(mine) == {"a"}


def test_an_upload_that_was_cut_off_leaves_nothing(mine: UserFiles):
    begun = mine.upload("a/b", QUOTA)
    begun.write(b"half")
    begun.drop()

    assert names(mine) == []
    assert mine.used() == 0
    assert on_disk(mine) == set()


def test_what_a_killed_server_left_is_removed_a_day_later(mine: UserFiles):
    begun = mine.upload("a", QUOTA)
    begun.write(b"half")
    [left] = (mine.folder / ".parts").iterdir()
    os.utime(left, (0, time.time() - 86_401))

    put(mine, "b")

    assert on_disk(mine) == {"b"}
    begun.drop()


def test_files_are_nobody_elses_and_never_run(mine: UserFiles):
    put(mine, "folder/script.sh", b"#!/bin/sh")

    place, _ = mine.find("folder/script.sh")

    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert mine.folder.stat().st_mode & 0o777 == 0o700


def test_all_files_together_stay_within_the_quota(mine: UserFiles):
    put(mine, "a", b"x" * 600)

    with pytest.raises(QuotaExceeded, match="would have 1001 bytes, and may have 1000"):
        put(mine, "b", b"x" * 401)
    put(mine, "b", b"x" * 400)

    assert mine.used() == QUOTA
    with pytest.raises(QuotaExceeded):
        put(mine, "c", b"x")
    put(mine, "c", b"")
    assert names(mine) == ["a", "b", "c"]


def test_what_is_said_to_be_too_much_is_refused_before_it_comes(mine: UserFiles):
    put(mine, "a", b"x" * 600)

    with pytest.raises(QuotaExceeded, match="would have 1001 bytes"):
        mine.upload("b", QUOTA, announced=401)

    assert on_disk(mine) == {"a"}
    mine.upload("b", QUOTA, announced=400).drop()


def test_a_file_may_be_replaced_where_there_is_no_room_for_two(mine: UserFiles):
    put(mine, "a", b"x" * 900)

    put(mine, "a", b"y" * 1000)

    assert mine.used() == QUOTA
    with pytest.raises(QuotaExceeded):
        put(mine, "a", b"z" * 1001)
    assert mine.find("a")[0].read_bytes() == b"y" * 1000


def test_uploads_at_the_same_time_share_the_quota(mine: UserFiles):
    one, other = mine.upload("a", QUOTA), mine.upload("b", QUOTA)
    one.write(b"x" * 600)
    other.write(b"x" * 600)

    one.finish()
    with pytest.raises(QuotaExceeded, match="would have 1200 bytes"):
        other.finish()
    one.drop()
    other.drop()

    assert names(mine) == ["a"]
    assert mine.used() == 600


def test_an_upload_looks_what_others_fill_meanwhile(
    mine: UserFiles, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "COUNTED", 100)
    begun = mine.upload("a", QUOTA)
    begun.write(b"x" * 101)
    put(mine, "b", b"x" * 700)

    begun.write(b"x" * 101)
    with pytest.raises(QuotaExceeded):
        begun.write(b"x" * 101)
    begun.drop()

    assert mine.used() == 700


def test_nobody_has_endless_files(mine: UserFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MOST_FILES", 2)
    put(mine, "a")
    put(mine, "b")

    with pytest.raises(QuotaExceeded, match="2 files"):
        put(mine, "c")
    put(mine, "b", b"another")

    assert names(mine) == ["a", "b"]


def test_something_put_in_the_way_meanwhile_is_kept(mine: UserFiles):
    begun = mine.upload("a", QUOTA)
    begun.write(b"late")
    put(mine, "a/b", b"early")

    with pytest.raises(FolderGiven):
        begun.finish()
    begun.drop()

    assert on_disk(mine) == {"a/b"}


def test_everything_of_an_account_can_be_deleted(mine: UserFiles):
    put(mine, "a/b")

    mine.delete_all()
    mine.delete_all()

    assert names(mine) == []
    assert not mine.folder.exists()


def test_an_upload_that_a_full_disk_ends_leaves_nothing(tmp_path: Path):
    upload = UserFiles(tmp_path, "anna").upload("a", 1000)
    upload.write(b"x")  # which is in memory still
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, upload._file.fileno())
    os.close(full)

    upload.drop()

    assert [*(tmp_path / "files" / "anna" / ".parts").iterdir()] == []
