"""Runs and jobs are listed and watched, whoever runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.server.small import graph as nodes
from tests.server.small import make_home

from terrazzo.cli import main
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.watching.known import enter
from terrazzo.drivers.watching.status import STATUS, State, Status
from terrazzo.ledger import Database, Principal, database_url
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs

if TYPE_CHECKING:
    from click.testing import Result
    from tests.cli.conftest import Shell

PATIENCE_S = 120.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of its own: what was run in it is what is listed."""
    folder = tmp_path / "home"
    make_home(folder)
    return folder


def listed(shell: Shell) -> list[dict[str, Any]]:
    told = shell("jobs", "--json")
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_a_home_without_runs_says_how_to_begin_one(shell: Shell, home: Path):
    told = shell("jobs")

    assert told.returncode == 0
    assert "terrazzo run" in told.stdout
    assert listed(shell) == []
    assert not (home / "ledger.sqlite").exists()


def test_a_run_is_foretold_listed_and_looked_at(shell: Shell, graph: Path, tmp_path: Path):
    folder = tmp_path / "out"

    first = shell("run", graph, "-o", folder, "--block", "64")
    second = shell("run", graph, "-o", tmp_path / "again", "--block", "64")
    told = listed(shell)
    looked = shell("jobs", "watch", told[1]["id"], "--json")
    shown = shell("jobs", "watch", folder)
    table = shell("jobs")

    assert first.returncode == second.returncode == 0
    assert "time: unknown" in first.stderr
    assert "by 1 earlier run of these processes" in second.stderr
    assert "Took" in second.stderr
    assert [(one["title"], one["state"]) for one in told] == [("graph", "finished")] * 2
    assert [one["where"] for one in told] == [str(tmp_path / "again"), str(folder)]
    look = json.loads(looked.stdout)
    assert (looked.returncode, look["state"]) == (0, "finished")
    assert look["done"] == look["total"] == told[1]["total"] > 0
    assert look["took"]["blocks"] == look["total"]
    assert look["expected"]["blocks"] == look["total"]
    assert sum(one["made"] for one in look["workers"]) == look["total"]
    assert f"finished  blocks {look['total']}/{look['total']}" in shown.stdout
    assert "WORKER" in shown.stdout
    assert table.stdout.splitlines()[0].split()[:3] == ["ID", "STATE", "BLOCKS"]


def test_a_folder_that_has_gone_is_left_out_until_it_is_back(
    shell: Shell, graph: Path, tmp_path: Path
):
    folder = tmp_path / "out"
    shell("run", graph, "-o", folder)
    (name,) = [one["id"] for one in listed(shell)]
    folder.rename(tmp_path / "elsewhere")

    told = listed(shell)
    watched = shell("jobs", "watch", name)
    (tmp_path / "elsewhere").rename(folder)
    again = listed(shell)

    assert told == []
    assert [one["id"] for one in again] == [name]
    assert watched.returncode == 2
    assert name in watched.stderr


@pytest.mark.parametrize("which", ["r-0123456789ab", "j-" + 32 * "0", "nowhere"])
def test_what_is_not_there_is_one_clear_error(shell: Shell, which: str):
    told = shell("jobs", "watch", which)

    assert told.returncode == 2
    assert "terrazzo jobs" in told.stderr


def write_status(folder: Path, state: State, message: str = "") -> None:
    failed = int(state is State.INCOMPLETE)
    told = Status(state, unit="blocks", done=3, total=9, failed=failed, message=message)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Heard a moment ago for as long as the test takes.
    changed = {**json.loads(told.content()), "begun": now, "seen": "2999-01-01T00:00:00Z"}
    FolderDepot(folder).write(STATUS, json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("state", "exit_status"),
    [("finished", 0), ("incomplete", 3), ("failed", 1), ("stopped", 1)],
)
def test_watching_ends_with_the_run(shell: Shell, tmp_path: Path, state: str, exit_status: int):
    folder = tmp_path / "run"
    write_status(folder, State.RUNNING)
    watching = shell.start("jobs", "watch", folder, "--json", "--every", "0.1")
    try:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        write_status(folder, State(state))
        out, _ = watching.communicate(timeout=PATIENCE_S)
    finally:
        watching.kill()
        watching.communicate()

    assert (first["state"], first["done"], first["total"]) == ("running", 3, 9)
    assert json.loads(out.splitlines()[-1])["state"] == state
    assert watching.returncode == exit_status


def test_ctrl_c_stops_the_watching_only(shell: Shell, tmp_path: Path):
    folder = tmp_path / "run"
    write_status(folder, State.RUNNING)
    before = (folder / STATUS).read_bytes()
    watching = shell.start("jobs", "watch", folder, "--every", "0.1")
    try:
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=PATIENCE_S)
    finally:
        watching.kill()
        watching.communicate()

    assert watching.returncode == 130
    assert "Traceback" not in err
    assert (folder / STATUS).read_bytes() == before


def test_jobs_of_the_server_are_listed_beside_runs(shell: Shell, home: Path):
    database = Database(database_url(home))
    jobs = Jobs(database, JobFolders(home))
    made = [
        jobs.create(Principal(owner), JobRequest({"title": owner}, process=nodes()))
        for owner in ("anna", "bert")
    ]
    jobs.start(Principal("bert"), made[1].id)
    database.close()

    told = {one["id"]: one for one in listed(shell)}
    looked = shell("jobs", "watch", made[1].id, "--once", "--json")

    assert {one.id for one in made} == set(told)
    assert told[made[0].id]["state"] == "stopped"
    assert told[made[1].id]["state"] == "submitted"
    assert json.loads(looked.stdout)["title"] == "bert"


def test_a_terminal_is_drawn_over(shell: Shell, tmp_path: Path):
    """What a person sees: the lines are replaced, not repeated."""
    folder = tmp_path / "run"
    write_status(folder, State.FINISHED)
    code = (
        "import sys; sys.stdout.isatty = lambda: True\n"
        "from terrazzo.cli.jobs import _Screen\n"
        "screen = _Screen()\n"
        "screen.show(['one', 'two']); screen.show(['three'])"
    )
    assert shell

    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert out == "one\ntwo\n\x1b[2A\x1b[Jthree\n"


@pytest.mark.parametrize("prefix", ["a//b", "a/./b", "../b", "a\tb"])
def test_a_prefix_that_stores_do_not_take_is_refused_and_not_listed(
    home: Path, graph: Path, prefix: str
):
    def call(*words: str) -> Result:
        return CliRunner().invoke(main, ["--home", str(home), *words])

    begun = call("run", str(graph), "-o", f"s3://bucket/{prefix}")
    watched = call("jobs", "watch", f"s3://bucket/{prefix}", "--once")
    told = call("jobs", "--json")

    assert begun.exit_code == watched.exit_code == 2
    assert "prefix that object stores do not take" in begun.stderr
    assert (told.exit_code, told.stdout) == (0, "")


def test_one_odd_run_hides_no_other(home: Path, tmp_path: Path):
    enter(home, "s3://bucket/a//b", "odd")
    enter(home, str(tmp_path), "plain")

    told = CliRunner().invoke(main, ["--home", str(home), "jobs", "--json"])

    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert told.exit_code == 0
    assert {row["title"]: row["state"] for row in rows} == {
        "odd": "unreachable", "plain": "not begun",
    }  # fmt: skip


def test_one_job_that_cannot_be_read_hides_no_other(home: Path):
    database, folders = Database(database_url(home)), JobFolders(home)
    jobs, anna = Jobs(database, folders), Principal("anna")
    made = [jobs.create(anna, JobRequest({"title": one}, process=nodes())) for one in ("a", "b")]
    for one in made:
        jobs.start(anna, one.id)
    lost = jobs.linked(made[0].id)
    assert lost is not None
    database.close()
    (folders.of(lost.id, lost.run) / STATUS).mkdir(parents=True)  # as unreadable as a broken disk

    told = CliRunner().invoke(main, ["--home", str(home), "jobs", "--json"])
    looked = CliRunner().invoke(main, ["--home", str(home), "jobs", "watch", lost.id, "--once"])

    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert told.exit_code == 0
    assert {row["title"]: (row["state"], row["done"]) for row in rows} == {
        "a": ("unreachable", None), "b": ("submitted", None),
    }  # fmt: skip
    assert looked.exit_code == 1
    assert "cannot be read" in looked.stderr


def test_what_others_wrote_does_nothing_to_a_terminal(home: Path, tmp_path: Path):
    folder = tmp_path / "run"
    write_status(folder, State.FAILED, message="\x1b[2Jgone\nr-0  finished")
    enter(home, str(folder), "\x1b]0;owned\x07a\n\u202eb")

    listed = CliRunner().invoke(main, ["--home", str(home), "jobs"])
    watched = CliRunner().invoke(main, ["--home", str(home), "jobs", "watch", str(folder)])

    assert "?]0;owned?a??b" in listed.stdout
    assert len(listed.stdout.splitlines()) == 2
    assert watched.stdout.splitlines()[1:] == ["?[2Jgone?r-0  finished"]
    assert not set("\x1b\x07\u202e") & set(listed.stdout + watched.stdout)


@pytest.mark.parametrize("option", ["--detach", "--script-only"])
def test_what_only_the_command_would_send_is_not_left_to_slurm(
    home: Path, graph: Path, tmp_path: Path, option: str
):
    told = CliRunner().invoke(
        main,
        ["--home", str(home), "run", str(graph), "-o", "s3://bucket/ndvi", "--executor", "slurm",
         "--work", str(tmp_path / "work"), option],
    )  # fmt: skip

    assert told.exit_code == 2
    assert f"{option} it does not wait" in told.stderr
    assert not (tmp_path / "work").exists()


def test_runs_on_tiles_and_scripts_are_listed(home: Path, graph: Path, tmp_path: Path):
    slurm, script = ("--executor", "slurm"), "--script-only"
    tiles = ("--tiles", "webmercator:14")

    def begin(name: str, *options: str) -> None:
        told = CliRunner().invoke(
            main, ["--home", str(home), "run", str(graph), "-o", str(tmp_path / name), *options]
        )
        assert told.exit_code == 0, told.output

    begin("tiles", *tiles, "--workers", "1")
    begin("plain-script", *slurm, script)
    begin("tiles-script", *tiles, *slurm, script)
    told = CliRunner().invoke(main, ["--home", str(home), "jobs", "--json"])

    rows = [json.loads(line) for line in told.stdout.splitlines()]
    found = {Path(row["where"]).name: row for row in rows}
    assert {name: row["state"] for name, row in found.items()} == {
        "tiles": "finished", "plain-script": "submitted", "tiles-script": "submitted",
    }  # fmt: skip
    assert found["tiles"]["done"] == found["tiles"]["total"] > 0
