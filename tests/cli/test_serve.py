"""What `terrazzo serve` is told, and what it makes of it."""
# ruff: noqa: S105, S106 - the secrets are nobody's

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from terrazzo.cli import main
from terrazzo.ledger import Database, database_url
from terrazzo.ledger.users import add_user
from terrazzo.server.settings import Limits, ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

Told = dict[str, Any]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return what the server would have been started with."""
    found: Told = {}

    def listen(workspace: Any, host: str, port: int, **given: Any) -> None:
        found.update(given, workspace=workspace, host=host, port=port)

    monkeypatch.setattr("terrazzo.server.running.listen.listen", listen)
    return found


def serve(home: Path, *options: str, **environment: str) -> Any:
    names = ["--home", str(home), "serve", *options]
    return CliRunner().invoke(main, names, env=environment)


def test_without_options_it_is_for_this_machine_alone(tmp_path: Path, told: Told) -> None:
    done = serve(tmp_path)

    settings: ServerSettings = told["settings"]
    assert done.exit_code == 0, done.output
    assert (told["host"], told["port"]) == ("127.0.0.1", 8080)
    assert settings.open
    assert {"localhost", "127.0.0.1", "[::1]"} <= set(settings.hosts)
    assert settings.limits == Limits()
    assert (settings.workers, settings.job_workers, settings.cors) == (1, 1, "")


def test_every_option_arrives(tmp_path: Path, told: Told) -> None:
    done = serve(
        tmp_path, "--workers", "3", "--job-workers", "2", "--threads", "5", "--tile-cache", "7",
        "--public-url", "http://127.0.0.2:9/x", "--token-hours", "1.5", "--link-hours", "2",
        "--grace", "4", "--metrics-token", "secret", "--cors", "https://editor.example", "--log",
        "json", "--limit", "pixels=5M", "--limit", "nodes=12",
        "--database", f"sqlite:///{tmp_path}/other.sqlite",
    )  # fmt: skip

    settings: ServerSettings = told["settings"]
    assert done.exit_code == 0, done.output
    assert (settings.workers, settings.job_workers, settings.threads) == (3, 2, 5)
    assert settings.kept_bytes == 7_000_000
    assert settings.public_url == "http://127.0.0.2:9/x"
    assert "127.0.0.2" in settings.hosts
    assert (settings.token_hours, settings.link_hours, settings.grace_seconds) == (1.5, 2, 4)
    assert (settings.metrics_token, settings.log) == ("secret", "json")
    assert settings.cors == "https://editor.example"
    assert settings.limits == Limits(pixels=5_000_000, nodes=12)
    assert settings.database.endswith("other.sqlite")


def test_every_option_has_a_variable(tmp_path: Path, told: Told) -> None:
    done = serve(
        tmp_path, TERRAZZO_PORT="9000", TERRAZZO_WORKERS="2", TERRAZZO_METRICS_TOKEN="secret",
        TERRAZZO_LIMIT="nodes=5 pixels=7", TERRAZZO_LOG="text",
    )  # fmt: skip

    settings: ServerSettings = told["settings"]
    assert done.exit_code == 0, done.output
    assert (told["port"], settings.workers, settings.log) == (9000, 2, "text")
    assert settings.limits == Limits(nodes=5, pixels=7)
    assert settings.metrics_token == "secret"


def test_secrets_are_not_shown_when_settings_are() -> None:
    shown = repr(ServerSettings(metrics_token="abc-token", secret="abc-secret"))

    assert "abc-" not in shown


@pytest.mark.parametrize(
    ("limit", "said"),
    [("size=3", "Limits are pixels"), ("nodes", "amount"), ("nodes=-3", "amount")],
)
def test_a_limit_that_there_is_not_is_refused(tmp_path: Path, limit: str, said: str) -> None:
    done = serve(tmp_path, "--limit", limit)

    assert done.exit_code == 2
    assert said in done.output


def test_an_address_of_others_needs_somebody_who_can_log_in(tmp_path: Path, told: Told) -> None:
    refused = serve(tmp_path, "--host", "0.0.0.0")  # noqa: S104 - it is what is tested
    database = Database(database_url(tmp_path))
    add_user(database, "anna", "correct horse battery staple")
    database.close()
    served = serve(tmp_path, "--host", "0.0.0.0")  # noqa: S104 - as above

    assert refused.exit_code == 2
    assert "terrazzo user add" in refused.output
    assert served.exit_code == 0, served.output
    assert told["host"] == "0.0.0.0"  # noqa: S104 - as above
    assert not told["settings"].open


def test_behind_a_proxy_somebody_must_be_able_to_log_in(tmp_path: Path, told: Told) -> None:
    refused = serve(tmp_path, "--public-url", "https://eo.example/x")
    database = Database(database_url(tmp_path))
    add_user(database, "anna", "correct horse battery staple")
    database.close()
    served = serve(tmp_path, "--public-url", "https://eo.example/x")

    assert refused.exit_code == 2
    assert "eo.example" in refused.output
    assert served.exit_code == 0, served.output
    assert not told["settings"].open


def test_a_server_for_one_process_needs_its_secret(tmp_path: Path) -> None:
    done = serve(tmp_path, "--embedded")

    assert done.exit_code == 2
    assert "terrazzo.connect" in done.output


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("--public-url", "eo.example"),
        ("--public-url", "https://eo.example/x?y=1"),
        ("--public-url", "ftp://eo.example"),
        ("--cors", "editor.example"),
        ("--cors", "https://editor.example/"),  # an origin has no path, so none would be equal
    ],
)
def test_addresses_that_could_not_work_are_refused(
    tmp_path: Path, told: Told, option: str, address: str
) -> None:
    refused = serve(tmp_path, option, address)

    assert refused.exit_code == 2
    assert f"{address!r} is no address of a site" in refused.output
    assert told == {}
