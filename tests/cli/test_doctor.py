"""`terrazzo doctor` says what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from terrazzo.cli import main
from terrazzo.sandbox import layers, pool, sandbox_of
from terrazzo.sandbox.layers import Machine, this_machine

if TYPE_CHECKING:
    from pathlib import Path

closable = pytest.mark.skipif(bool(this_machine().missing), reason=this_machine().missing)
BARE = Machine(namespaces="Operation not permitted", landlock=0)


def looked(home: Path, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = CliRunner().invoke(main, ["--home", str(home), *options, "doctor", "--json"])
    told = json.loads(done.stdout)
    assert told["ok"] == (done.exit_code == 0)
    return done.exit_code, {check["name"]: check for check in told["checks"]}


def on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the machine found to be another; no worker that runs already is asked."""
    sandbox_of().close()
    for module in (layers, pool):
        monkeypatch.setattr(module, "this_machine", lambda: machine)


@closable
def test_nothing_is_missing_where_everything_works(home: Path) -> None:
    status, found = looked(home)

    assert status == 0
    assert {check["state"] for check in found.values()} <= {"ok", "note"}
    where = f"{home / 'catalog.sqlite'}, SQLite {sqlite3.sqlite_version}"
    assert found["catalogue"]["found"] == f"{where}, 1 collections"
    assert "numpy" in found["UDFs"]["found"]
    assert f"Landlock {this_machine().landlock}" in found["isolation"]["found"] or (
        "namespaces" in found["isolation"]["found"]
    )


def test_machine_that_shuts_nothing_in_is_told_how_to(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(BARE, monkeypatch)

    status, found = looked(home)

    assert status == 1
    for name in ("namespaces", "Landlock", "isolation", "UDFs"):
        assert found[name]["state"] == "missing"
    assert "user.max_user_namespaces" in found["namespaces"]["advice"]
    assert "lsm=" in found["Landlock"]["advice"]
    assert "UDFs cannot be run here" in found["UDFs"]["found"]


@closable
@pytest.mark.parametrize(
    ("machine", "lacking"),
    [
        (Machine(landlock=0, namespaces=this_machine().namespaces), "Landlock"),
        (Machine(landlock=this_machine().landlock, namespaces="forbidden"), "namespaces"),
    ],
)
def test_one_layer_is_enough(
    home: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine, lacking: str
) -> None:
    if machine.missing:
        pytest.skip("This machine has the other layer only.")
    on(machine, monkeypatch)

    status, found = looked(home)

    assert status == 0
    assert found[lacking]["state"] == "note"
    assert lacking not in found["isolation"]["found"]


@pytest.mark.parametrize("mode", ["off", "trusted"])
def test_nothing_needs_to_be_shut_in_where_code_is_off_or_trusted(
    home: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    on(BARE, monkeypatch)

    status, found = looked(home, "--udf", mode)

    assert status == 0
    assert found["Landlock"]["state"] == "note"
    assert (mode == "trusted") == ("isolation" in found)
    assert (mode == "off") == (found["UDFs"]["found"] == "switched off")


@closable
def test_environments_are_tried(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)

    status, found = looked(
        home,
        *("--udf-environment", f"all={sys.executable}"),
        *("--udf-environment", f"empty={empty / 'bin' / 'python'}"),
    )

    assert status == 1
    assert found["environment all"]["state"] == "ok"
    assert "it lacks numpy pandas" in found["environment empty"]["found"]


def test_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    status, found = looked(tmp_path / "file" / "home", "--udf", "off")

    assert status == 1
    assert found["home"]["state"] == "missing"


def test_catalogue_that_does_not_open_is_told(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("no database, but text that is long enough" * 100)

    status, found = looked(tmp_path, "--udf", "off")

    assert status == 1
    assert found["catalogue"]["state"] == "missing"


def test_people_read_it_too(home: Path) -> None:
    done = CliRunner().invoke(main, ["--home", str(home), "--udf", "off", "doctor"])

    assert done.exit_code == 0
    assert f"ok      home             {home}" in done.output
    assert "note    UDFs             switched off" in done.output


def test_limits_of_the_shell_change_nothing(home: Path) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'ulimit -n 200; exec "$0" -c "$1" --udf off doctor',
            sys.executable,
            "from terrazzo.cli import main; main()",
        ],
        env=os.environ | {"TERRAZZO_HOME": str(home)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
