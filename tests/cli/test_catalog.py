"""`terrazzo search` with CQL2, orders, places and dates, and the commands for upkeep."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import struct
import subprocess
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCSWINSZ
from typing import TYPE_CHECKING, Any

import pytest
import shapely
from tests.cli.conftest import PROGRAM
from tests.cli.test_commands import call
from tests.server.small import COLLECTION, DATES, make_home

from terrazzo.catalog import make_collection, make_item, open_catalog

if TYPE_CHECKING:
    from pathlib import Path

EVERYWHERE = shapely.geometry.mapping(shapely.box(-180, -90, 180, 90))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A home that a test may change."""
    make_home(tmp_path / "own")
    return tmp_path / "own"


def ids(home: Path, *arguments: str) -> list[str]:
    return call(home, "search", "--format", "ids", *arguments).stdout.split()


# search


def test_search_takes_cql2_as_text_and_as_json(home: Path) -> None:
    later = {"op": ">=", "args": [{"property": "datetime"}, {"timestamp": "2019-01-01T00:00:00Z"}]}

    text = ids(home, "--filter", "datetime >= TIMESTAMP('2019-01-01T00:00:00Z')")

    assert text == ids(home, "--filter", json.dumps(later)) == ids(home, "--datetime", "2019/..")
    assert len(text) == 1


def test_search_sorts(home: Path) -> None:
    forward = ids(home)

    assert ids(home, "--sort", "-datetime") == forward[::-1]
    assert ids(home, "--sort=-gsd,-id") == sorted(forward, reverse=True)


@pytest.mark.parametrize(
    "document",
    [
        EVERYWHERE,
        {"type": "Feature", "geometry": EVERYWHERE, "properties": {}},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": EVERYWHERE}]},
    ],
)
def test_search_takes_a_place_from_a_file_or_as_text(home: Path, tmp_path: Path, document) -> None:
    file = tmp_path / "place.geojson"
    file.write_text(json.dumps(document))

    assert len(ids(home, "--intersects", str(file))) == len(DATES)
    assert len(ids(home, "--intersects", json.dumps(document))) == len(DATES)
    elsewhere = '{"type": "Point", "coordinates": [0, 0]}'
    assert call(home, "search", "--count", "--intersects", elsewhere).stdout == "0\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--filter", "cloud <"), "cloud"),
        (("--filter", '{"op": '), "JSON"),
        (("--intersects", "nowhere.geojson"), "nowhere.geojson"),
        (("--intersects", "[1]"), "no GeoJSON"),
        (("--intersects", '{"type": "Feature"}'), "geometry"),
        (("--count", "--dates"), "--dates"),
        (("--sort", ""), "sort"),
    ],
)
def test_what_search_cannot_read_is_bad_input(home: Path, arguments, word: str) -> None:
    told = call(home, "search", *arguments, status=2)

    assert word in told.stderr


def test_search_counts_no_more_than_the_limit(home: Path) -> None:
    assert call(home, "search", "--count", "--limit", "2").stdout == "2\n"
    assert call(home, "search", "--count", "--limit", "9").stdout == f"{len(DATES)}\n"


def test_search_draws_when_items_are(home: Path) -> None:
    lines = call(home, "search", "--dates").stdout.splitlines()

    assert lines[0] == "3 items, 2018-05-01 to 2019-05-01"
    assert [line.split()[0] for line in lines[3:5]] == ["2018", "2019"]
    assert [line.split()[-1] for line in lines[3:5]] == ["2", "1"]
    assert call(home, "search", "--dates", "--datetime", "1999").stdout == ""


def on_terminal(home: Path, columns: int, *arguments: str) -> str:
    """Run a command on a terminal, and return what it shows."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*PROGRAM, "--home", str(home), *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={name: text for name, text in os.environ.items() if name != "COLUMNS"},
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux says so at the end of a terminal
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait(timeout=300) == 0
    return shown.decode()


def test_on_a_terminal_a_map_that_fits_follows_the_table(home: Path) -> None:
    table, _, told = on_terminal(home, 36, "search", COLLECTION).partition("\r\n\r\n")

    lines = told.splitlines()
    assert [line.split()[0] for line in table.splitlines()] == ["id", *ids(home)]
    assert " ".join(lines[:2]).startswith("3 items, 2018-05-01 to 2019-05-01")
    assert max(map(len, lines)) <= 36
    assert "items," not in on_terminal(home, 80, "search", "--format", "ids")


# upkeep


def test_info_says_where_the_catalogue_is_and_what_is_in_it(home: Path) -> None:
    told = json.loads(call(home, "catalog", "info", "--json").stdout)
    text = call(home, "catalog", "info").stdout.splitlines()

    assert told["catalog"] == str(home / "catalog.sqlite")
    assert told["bytes"] == (home / "catalog.sqlite").stat().st_size
    assert [one["id"] for one in told["collections"]] == [COLLECTION]
    assert told["collections"][0]["interval"] == [
        f"{day}T00:00:00Z" for day in (DATES[0], DATES[-1])
    ]
    assert text[1] == f"1 collections, {len(DATES)} items"
    assert text[3].split()[:2] == [COLLECTION, str(len(DATES))]


def test_a_sound_catalogue_is_said_to_be_so(home: Path) -> None:
    told = call(home, "catalog", "check", "--files")

    assert told.stdout == f"{home / 'catalog.sqlite'} is sound.\n"
    assert f"items {len(DATES)}/{len(DATES)}" in told.stderr


def test_what_is_wrong_with_a_catalogue_is_said_and_what_to_do(own: Path) -> None:
    connection = sqlite3.connect(own / "catalog.sqlite")
    connection.execute("DELETE FROM document WHERE row = (SELECT min(row) FROM document)")
    connection.commit()
    connection.close()

    told = call(own, "catalog", "check", status=1)

    assert told.stdout.strip()
    assert "terrazzo catalog export" in told.stderr


def test_files_that_are_gone_are_found(own: Path) -> None:
    (own / "images" / f"scene_{DATES[1].replace('-', '')}.tif").unlink()
    with open_catalog(own / "catalog.sqlite") as catalog:
        catalog.put_collection(make_collection("far"))
        far = {"a": {"href": "https://example.org/a.tif"}, "b": {"href": "s3://bucket/b.tif"}}
        odd = {"c": {"href": "../c.tif"}, "d": {"href": "/etc/passwd"}, "e": {}}
        catalog.put_items([item("there", far), item("odd", odd)])

    told = call(own, "catalog", "check", "--files", status=1)

    lines = told.stdout.splitlines()
    assert len(lines) == 4
    assert sum(f"scene_{DATES[1].replace('-', '')}" in line for line in lines) == 1
    assert all("'odd' of 'far'" in line for line in lines if "scene_" not in line)
    assert "4 files" in told.stderr
    assert call(own, "catalog", "check").stdout.endswith("is sound.\n")


def item(name: str, assets: dict[str, Any]) -> dict[str, Any]:
    return make_item(name, "far", bbox=(0, 0, 1, 1), datetime="2020-01-01", assets=assets)


def test_vacuum_gives_space_back(own: Path) -> None:
    with open_catalog(own / "catalog.sqlite") as catalog:
        catalog.put_collection(make_collection("far"))
        catalog.put_items(item(f"i{n}", {"a": {"href": f"/{n}" * 50}}) for n in range(2000))
        catalog.delete_items("far", [f"i{n}" for n in range(2000)])

    told = call(own, "catalog", "vacuum").stdout

    before, after = (float(part.split()[0]) for part in told.split(": ")[1].split(", "))
    assert after < before or "kB now" in told
    assert len(ids(own)) == len(DATES)


def test_a_catalogue_is_moved_and_the_same_command_goes_on(own: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.sqlite"

    first = json.loads(call(own, "catalog", "move", "--to", target).stdout)
    second = json.loads(call(own, "catalog", "move", "--to", target).stdout)

    assert (first["made"], first["kept"]) == (len(DATES), 0)
    assert (second["made"], second["kept"]) == (0, len(DATES))
    with open_catalog(own / "catalog.sqlite") as old, open_catalog(target) as new:
        assert new.collections() == old.collections()
        assert list(new.search()) == list(old.search())


def test_a_catalogue_is_not_moved_onto_itself(own: Path) -> None:
    told = call(own, "catalog", "move", "--to", own / "catalog.sqlite", status=2)

    assert "itself" in told.stderr


def test_a_password_in_an_address_is_not_shown(own: Path) -> None:
    address = "postgresql://me:secret@127.0.0.1:1/none"

    told = call(own, "catalog", "move", "--to", address, status=1)

    assert "127.0.0.1" in told.stderr
    assert "secret" not in told.output


@pytest.mark.parametrize("suffix", ["parquet", "ndjson"])
def test_what_is_exported_can_be_imported(own: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"small.{suffix}"

    exported = json.loads(call(own, "catalog", "export", COLLECTION, "-o", file).stdout)
    imported = json.loads(call(tmp_path / "new", "catalog", "import", file).stdout)
    again = json.loads(call(tmp_path / "new", "catalog", "import", file).stdout)

    assert exported == {"path": str(file), "rows": len(DATES), "bytes": file.stat().st_size}
    assert (imported["collections"], imported["made"]) == ([COLLECTION], len(DATES))
    assert (again["made"], again["kept"]) == (0, len(DATES))
    assert ids(tmp_path / "new") == ids(own)


def test_an_inventory_names_every_file(own: Path, tmp_path: Path) -> None:
    file = tmp_path / "files.csv"

    told = json.loads(call(own, "catalog", "export", "--inventory", "-o", file).stdout)

    lines = file.read_text().splitlines()
    assert told["rows"] == len(lines) - 1 == len(DATES)
    assert sum("scene_" in line for line in lines) == len(DATES)


def test_a_file_holds_one_collection(own: Path, tmp_path: Path) -> None:
    told = call(own, "catalog", "export", "-o", tmp_path / "a.parquet", status=2)

    assert "--inventory" in told.stderr
