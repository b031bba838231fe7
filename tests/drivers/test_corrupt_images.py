"""Damaged images: each is left out with a reason, in bounded memory, and the rest goes in.

All files are taken in by one process of bounded address space, in place and as copies.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.drivers import corrupt_files

RUN = Path(__file__).with_name("corrupt_run.py")
GIGABYTE = 2**30
WORDS = ("Traceback", "MemoryError", "bad_alloc", "Exception", "/tmp")  # noqa: S108 - not a file


@dataclass
class Outcome:
    """What became of the files of a folder."""

    place: dict[str, str]
    copy: dict[str, str]
    made: int
    stderr: str
    names: dict[str, list[str]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """All damaged files and a good one, ingested in a process of their own."""
    scratch, folder = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("folder")
    names: dict[str, list[str]] = {}
    kinds: list[tuple[str, Any, str]] = [
        ("tiffs", corrupt_files.tiffs, ".tif"), ("odd_tiffs", corrupt_files.odd_tiffs, ".tif"),
        ("damaged_data", corrupt_files.damaged_data, ".tif"), ("jp2s", corrupt_files.jp2s, ".jp2"),
    ]  # fmt: skip
    for kind, files, ending in kinds:
        names[kind] = []
        for name, content in files(scratch):
            (folder / f"{name}{ending}").write_bytes(content)
            names[kind].append(f"{name}{ending}")
    (folder / "huge.tif").write_bytes(corrupt_files.huge())
    good = corrupt_files.good_tiff(scratch, "g.tif", COMPRESS="DEFLATE")
    for name in ("a good one.tif", "z good one.tif"):
        (folder / name).write_bytes(good)
    (folder / "good.jp2").write_bytes(corrupt_files.good_jp2(scratch))
    words = [sys.executable, str(RUN), str(folder / "a good one.tif"), str(folder), str(scratch)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["peak"] < 2 * GIGABYTE
    return Outcome(
        told["place"]["failed"], told["copy"]["failed"], told["copy"]["made"], done.stderr, names
    )


TIFFS = (
    "cut in the header", "cut behind the header", "cut in the first directory",
    "cut in the offsets of tiles", "cut in the overviews", "cut in the tiles",
    "cut at the last byte", "zeros behind the header", "noise behind the header",
    "million pixels each way", "offset of a tile beyond the file",
    "length of a tile beyond the file", "tag of a thousand million entries",
    "tag of too few entries", "text of four gigabytes", "tiles of a million pixels",
    "tiles of no pixels", "no rows", "unknown compression", "thirteen thousand bits", "no bands",
    "65535 bands", "huge",
)  # fmt: skip
JP2S = (
    "cut in its boxes", "cut before its codestream", "cut in its main header",
    "cut in its first tile", "cut in the middle", "cut at its last bytes",
    "zeros behind its boxes", "codestream of a million pixels each way", "tiles of no pixels",
    "no bands",
)  # fmt: skip
DATA = (
    "flipped byte in a tile", "flipped byte in an overview", "tile that inflates to gigabytes",
    "noise instead of a tile",
)  # fmt: skip


def clear(reason: str) -> bool:
    """Tell whether a reason is one for people."""
    return len(reason) > 15 and not any(word in reason for word in WORDS)


@pytest.mark.parametrize("name", [f"{one}.tif" for one in TIFFS] + [f"{one}.jp2" for one in JP2S])
def test_damage_of_a_header_is_found_by_a_look(name: str, outcome: Outcome) -> None:
    assert clear(outcome.place.get(name, "")), outcome.place.get(name)
    assert clear(outcome.copy.get(name, "")), outcome.copy.get(name)


@pytest.mark.parametrize("name", [f"{one}.tif" for one in DATA])
def test_damage_of_tiles_is_found_by_a_copy(name: str, outcome: Outcome) -> None:
    assert clear(outcome.copy.get(name, "")), outcome.copy.get(name)


def test_odd_headers_do_no_harm(outcome: Outcome) -> None:
    for name in outcome.names["odd_tiffs"]:
        for failed in (outcome.place, outcome.copy):
            assert name not in failed or clear(failed[name]), (name, failed[name])
    assert "Traceback" not in outcome.stderr


def test_every_kind_of_damage_has_its_test(outcome: Outcome) -> None:
    assert set(outcome.names["tiffs"]) | {"huge.tif"} == {f"{name}.tif" for name in TIFFS}
    assert set(outcome.names["jp2s"]) == {f"{name}.jp2" for name in JP2S}
    assert set(outcome.names["damaged_data"]) == {f"{name}.tif" for name in DATA}


@pytest.mark.parametrize("name", ["a good one.tif", "z good one.tif", "good.jp2"])
def test_the_rest_goes_in(name: str, outcome: Outcome) -> None:
    assert name not in outcome.place
    assert name not in outcome.copy
    assert outcome.made >= 3
