"""`terrazzo ingest` of STAC, and `terrazzo catalog export` and `import`: what they say and do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.drivers.catalogue_items import filled, item_of

from terrazzo.cli import main
from terrazzo.drivers.job import Workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def call(home: Path, *arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["--home", str(home), *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def saved(path: Path, *items: object) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def test_ingest_of_an_api_says_what_it_did_and_which_hosts_to_allow(tmp_path: Path) -> None:
    there = Workspace.of(tmp_path / "there")
    filled(there.catalog(create=True), [item_of(number) for number in range(9)]).close()
    home = tmp_path / "home"

    with serving(there, settings=ServerSettings(job_workers=0)) as url:
        options = ("--collection", "mine", "--from", "s2", "--datetime", "2020-01-03/2020-01-06")
        first = call(home, "ingest", url, *options)
        again = call(home, "ingest", url, *options, "--limit", 2)
        wrong = call(home, "ingest", url, "--collection", "mine", status=2)

    assert json.loads(first.stdout) == {"collection": "mine", "made": 3, "kept": 0, "failed": 0}
    assert "terrazzo`: --allow-host data.example.org" in first.stderr
    assert json.loads(again.stdout)["kept"] == 2
    assert "It has s2. Name the one to ingest with --from." in wrong.stderr
    ids = call(home, "search", "mine", "--format", "ids").stdout.split()
    assert ids == ["item-00002", "item-00003", "item-00004"]


def test_ingest_of_files_of_stac_goes_on_past_bad_items(tmp_path: Path) -> None:
    good, bad = item_of(1), item_of(2, bbox=[0])
    file = saved(tmp_path / "items.json", good, bad)

    told = call(tmp_path / "home", "ingest", file, "--collection", "mine", status=3)

    assert json.loads(told.stdout) == {"collection": "mine", "made": 1, "kept": 0, "failed": 1}
    assert "left out item-00002" in told.stderr
    assert "Give the same command again" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("item.json", "--copy"), "is for files, and item.json is STAC"),
        (("item.json", "images"), "Give them in two commands"),
        (("images", "--limit", "3"), "--limit is for STAC"),
        (("nowhere.json",), "There is no file"),
        (("item.json", "--filter", "gsd <"), "filter"),
        (("http://me:secret@10.0.0.1/",), "user name"),
        (("http://10.0.0.1/", "--bbox", "1,2"), "no bounding box"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "item.json", item_of(1))
    (tmp_path / "images").mkdir()

    told = call(tmp_path / "home", "ingest", *arguments, "--collection", "mine", status=2)

    assert message in told.stderr


def test_a_catalogue_goes_out_as_a_file_and_comes_back(tmp_path: Path) -> None:
    file = saved(tmp_path / "items.json", *(item_of(number) for number in range(5)))
    first, other = tmp_path / "first", tmp_path / "other"
    call(first, "ingest", file, "--collection", "s2")
    parquet, inventory = tmp_path / "s2.parquet", tmp_path / "files.parquet"

    written = json.loads(call(first, "catalog", "export", "s2", "-o", parquet).stdout)
    listed = json.loads(call(first, "catalog", "export", "--inventory", "-o", inventory).stdout)
    read = json.loads(call(other, "catalog", "import", parquet).stdout)

    assert (written["rows"], written["bytes"]) == (5, parquet.stat().st_size)
    assert (listed["rows"], pq.read_table(inventory).num_rows) == (5, 5)
    assert (read["made"], read["kept"], read["failed"]) == (5, 0, 0)
    found = [call(home, "search", "--format", "json").stdout for home in (first, other)]
    assert [json.loads(line) for line in found[0].splitlines()] == [
        json.loads(line) for line in found[1].splitlines()
    ]
