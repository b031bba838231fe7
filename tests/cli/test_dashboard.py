"""`terrazzo dashboard`, without a browser: what it refuses, and with what Voila is started."""

from __future__ import annotations

import importlib
import importlib.util
import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from terrazzo.cli import main
from terrazzo.cli.options import Settings
from terrazzo.drivers.own import own_workspace
from terrazzo.sandbox.limits import Mode, UdfRules

module = importlib.import_module("terrazzo.cli.dashboard")

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "map.ipynb"
    path.write_text("{}")
    return path


def run(*arguments: str | Path):
    return CliRunner().invoke(main, ["dashboard", *map(str, arguments)])


def test_what_is_no_notebook_is_refused(tmp_path: Path):
    path = tmp_path / "map.py"
    path.write_text("")

    result = run(path)

    assert result.exit_code == 2
    assert "map.py is no notebook" in result.output


def test_without_the_extra_the_way_out_is_told(notebook: Path, monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "voila" else find(name, *more),
    )

    result = run(notebook)

    assert result.exit_code == 1
    assert "pip install 'terrazzo[dashboard]'" in result.output


def test_a_port_that_is_taken_is_told_before_anything_starts(notebook: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = run(notebook, "--port", port)

    assert result.exit_code == 2
    assert str(port) in result.output


def test_what_voila_says_before_it_ends_is_told(notebook: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: object) -> Sequence[str]:
        return [module.sys.executable, "-c", "raise SystemExit('no such kernel')"]

    monkeypatch.setattr(module, "_command", failing)

    result = run(notebook)

    assert result.exit_code == 1
    assert "no such kernel" in result.output


def test_the_page_has_our_template_and_the_home_of_the_command(tmp_path: Path, notebook: Path):
    settings = Settings(home=tmp_path / "home")

    environment = module._environment(settings, Path("/share"), "secret", {"JUPYTER_PATH": "/mine"})
    command = module._command(notebook, ("127.0.0.1", 8090), "dark")

    assert environment["TERRAZZO_HOME"] == str(tmp_path / "home")
    assert environment["JUPYTER_PATH"] == "/share:/mine"
    assert {"--template=terrazzo", "--theme=dark", "--port=8090"} <= set(command)


def test_maps_of_the_page_have_the_options_of_the_command(tmp_path: Path):
    udf = UdfRules(Mode.OFF)
    settings = Settings(tmp_path, roots=(tmp_path / "files",), hosts=("data.example",), udf=udf)

    environment = module._environment(settings, Path("/share"), "secret", {})
    workspace = own_workspace(environment)

    assert workspace.home == tmp_path
    assert workspace.udf == udf
    assert workspace.roots == settings.roots
    assert workspace.hosts == settings.hosts


def test_the_token_is_told_where_other_people_of_the_machine_do_not_see_it(notebook: Path):
    token = secrets.token_hex()
    environment = module._environment(Settings(home=notebook.parent), Path("/share"), token, {})
    command = module._command(notebook, ("127.0.0.1", 8090), "dark")

    assert environment["JUPYTER_TOKEN"] == token
    assert "--Voila.auto_token=True" in command
    assert token not in " ".join(command)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])  # noqa: S104
def test_who_lets_other_machines_in_is_warned(
    notebook: Path, monkeypatch: pytest.MonkeyPatch, host: str, *, warned: bool
):
    monkeypatch.setattr(
        module, "_command", lambda *_: [module.sys.executable, "-c", "raise SystemExit"]
    )

    result = run(notebook, "--host", host)

    assert ("can be reached from other machines" in result.stderr) is warned


def test_a_command_that_is_to_end_ends_what_it_started():
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended, module._ended_in_order():
        signal.raise_signal(signal.SIGTERM)

    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_template_names_no_other_host():
    folder = Path(module.__file__).parents[1] / "notebook" / "share"
    files = [path for path in folder.rglob("*") if path.is_file()]

    assert len(files) == 3
    assert not [path for path in files if "://" in path.read_text()]
