"""The command line as a process: signals, pipes, and going on after kill -9."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import HEED, PROGRAM
from tests.server.small import EDGE

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

BLOCK = ("--block", 20, "--workers", 1)
BLOCKS = math.ceil(EDGE / 20) ** 2
HELD = 60
"""Of its blocks, about as many are made when a run waits; as many again may be handed out."""
ENDLESS = f"""{HEED}
import time
from terrazzo.cli import main
from terrazzo.progress import Progress

advance = Progress.advance

def hold(self, count=1):
    advance(self, count)
    while self.unit == "blocks" and self.done >= {HELD}:
        time.sleep(0.02)

Progress.advance = hold
main()
"""
"""A command that makes some blocks and waits to be stopped then, however late that comes."""
SLOW_KERNELS = "Compiling, once after an installation."


def blocks_done(folder: Path) -> int:
    return len(list((folder / ".blocks").glob("*/[!.]*.block")))


def wait_for_blocks(process: subprocess.Popen[str], folder: Path, count: int = 20) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if blocks_done(folder) >= count:
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"the run made no blocks: {process.communicate()}")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, home: Path) -> list[bytes]:
    from tests.cli.conftest import Shell  # noqa: PLC0415 - a fixture of the session
    from tests.server.small import write_graph  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("undisturbed")
    graph = write_graph(folder / "graph.json", save=True)
    done = Shell(home)("run", graph, "-o", folder / "out")
    return [Path(json.loads(line)["path"]).read_bytes() for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    shell: Shell,
    graph: Path,
    tmp_path: Path,
    undisturbed: list[bytes],
    stop: signal.Signals,
    executor: str,
) -> None:
    out = tmp_path / "out"
    arguments = ("run", graph, "-o", out, "--executor", executor)
    endless = (sys.executable, "-c", ENDLESS)
    process = shell.start(*arguments, *BLOCK, program=endless, start_new_session=True)
    try:
        wait_for_blocks(process, out)
        os.killpg(process.pid, stop)
        told = process.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    before = blocks_done(out)
    resumed = shell(*arguments, *BLOCK)

    assert process.returncode == (130 if stop is signal.SIGINT else -stop), told
    if stop is signal.SIGINT:
        assert told[0] == ""
        assert "the same command again" in told[1]
        assert "Traceback" not in told[1]
    assert 0 < before < BLOCKS
    assert resumed.returncode == 0, resumed.stderr
    assert "blocks were there already" in resumed.stderr
    written = [Path(json.loads(line)["path"]).read_bytes() for line in resumed.stdout.splitlines()]
    assert written == undisturbed


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    process = shell.start("search", "--format", "json")
    assert process.stdout is not None
    process.stdout.close()

    process.wait(timeout=300)

    assert process.stderr is not None
    assert "Traceback" not in (text := process.stderr.read())
    assert "Error" not in text
    assert process.returncode in {0, 141}
    process.stderr.close()


def test_progress_goes_to_stderr_and_results_to_stdout(
    shell: Shell, graph: Path, tmp_path: Path
) -> None:
    done = shell("run", graph, "-o", tmp_path / "out")

    assert done.returncode == 0
    assert "blocks 1/1" in done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3


def test_a_block_that_fails_ends_with_3_and_can_be_mended(tmp_path: Path) -> None:
    from tests.cli.conftest import Shell  # noqa: PLC0415 - a home of its own
    from tests.server.small import make_home, write_graph  # noqa: PLC0415

    home = tmp_path / "home"
    make_home(home)
    graph = write_graph(tmp_path / "graph.json", save=True)
    image = home / "images" / "scene_20180601.tif"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 3])
    shell = Shell(home)

    failed = shell("run", graph, "-o", tmp_path / "out", "--block", 128)
    skipped = shell("run", graph, "-o", tmp_path / "less", "--block", 128, "--skip-bad")
    image.write_bytes(whole)
    mended = shell("run", graph, "-o", tmp_path / "out", "--block", 128)

    assert failed.returncode == 3, failed.stderr
    assert "scene_20180601" in failed.stderr
    assert skipped.returncode == 0, skipped.stderr
    assert "scene_20180601" in skipped.stderr
    assert mended.returncode == 0, mended.stderr


def test_serve_stops_on_ctrl_c(shell: Shell) -> None:
    process = shell.start("serve", "--port", 0)
    assert process.stderr is not None
    line = next((line for line in process.stderr if SLOW_KERNELS not in line), "")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)

    assert "http://127.0.0.1:" in line
    # What it says when a busy machine takes long to make kernels ready is no fault.
    rest = [line for line in err.splitlines() if SLOW_KERNELS not in line]
    assert (process.returncode, out, rest) == (0, "", [])


def test_program_is_found_by_its_name() -> None:
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=False)

    assert done.stdout.startswith("terrazzo, version")
