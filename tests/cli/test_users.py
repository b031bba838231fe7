"""The commands for accounts and for who sees which collection."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.cli.conftest import PROGRAM

from terrazzo.cli import main
from terrazzo.ledger import Database, database_url
from terrazzo.ledger.files import UserFiles
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs, Status
from terrazzo.ledger.tokens import log_in
from terrazzo.ledger.users import find_user, has_accounts, principal_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

PASSWORD = "four words nobody guesses"  # noqa: S105 - of nobody


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ledger(home: Path) -> Iterator[Database]:
    ledger = Database(database_url(home))
    yield ledger
    ledger.close()


def terrazzo(home: Path, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *arguments], input=typed)


def added(home: Path, name: str, *options: str) -> Result:
    result = terrazzo(home, "user", "add", name, *options, typed=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    return result


def test_a_password_comes_from_stdin_and_works(home: Path, ledger: Database):
    told = added(home, "anna", "--full-name", "Anna A.", "--group", "agri", "--group", "forest")

    who = principal_of(ledger, find_user(ledger, "anna").id)

    assert log_in(ledger, "anna", PASSWORD, "", 1.0)
    assert (who.name, who.groups) == ("Anna A.", {"agri", "forest"})
    assert "start" in told.stderr
    assert PASSWORD not in told.output
    assert "start" not in added(home, "bob").stderr


def test_no_password_is_an_argument(home: Path, ledger: Database):
    for name in ("add", "password"):
        given = terrazzo(home, "user", name, "anna", "--password", PASSWORD, typed="")
        positional = terrazzo(home, "user", name, "anna", PASSWORD, typed="")
        assert given.exit_code == positional.exit_code == 2
    assert not has_accounts(ledger)


@pytest.mark.parametrize("typed", ["", "\n", "short\n"])
def test_a_password_that_is_none_makes_no_account(home: Path, ledger: Database, typed: str):
    result = terrazzo(home, "user", "add", "anna", typed=typed)

    assert result.exit_code == 2
    assert "letters" in result.stderr
    assert not has_accounts(ledger)


def test_a_new_password_replaces_the_old_one(home: Path, ledger: Database):
    added(home, "anna")

    terrazzo(home, "user", "password", "anna", typed="another four words\n")

    assert log_in(ledger, "anna", "another four words", "", 1.0)
    assert terrazzo(home, "user", "password", "nobody", typed="x").exit_code == 2


def test_accounts_are_listed_and_changed(home: Path):
    assert "user add" in terrazzo(home, "user", "list").stderr
    added(home, "anna")
    terrazzo(home, "user", "groups", "anna", "b", "a")
    terrazzo(home, "user", "change", "anna", "--admin", "--quota", "5G", "--full-name", "A.")
    added(home, "bob")
    terrazzo(home, "user", "disable", "bob")

    anna, bob = map(json.loads, terrazzo(home, "user", "list", "--json").stdout.splitlines())
    table = terrazzo(home, "user", "list").stdout

    assert (anna["name"], anna["groups"], anna["admin"]) == ("anna", ["a", "b"], True)
    assert (anna["quota"], anna["full_name"]) == (5_000_000_000, "A.")
    assert (bob["enabled"], bob["admin"]) == (False, False)
    assert "argon2" not in table + json.dumps(anna)
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        ["anna", "enabled"],
        ["bob", "disabled"],
    ]
    terrazzo(home, "user", "enable", "bob")
    assert "disabled" not in terrazzo(home, "user", "list").stdout
    assert terrazzo(home, "user", "change", "anna").exit_code == 2


@pytest.mark.parametrize("command", ["disable", "remove"])
def test_who_is_shut_out_has_no_jobs_that_run(home: Path, ledger: Database, command: str):
    added(home, "anna")
    who = principal_of(ledger, find_user(ledger, "anna").id)
    jobs = Jobs(ledger, JobFolders(home))
    process = {"process_graph": {"x": {"process_id": "pi", "arguments": {}, "result": True}}}
    job = jobs.create(who, JobRequest(process=process))
    jobs.start(who, job.id)
    assert jobs.get(who, job.id).status is Status.QUEUED

    result = terrazzo(home, "user", command, "anna")

    assert result.exit_code == 0, result.output
    assert jobs.get(who, job.id).status is Status.CREATED


def test_files_of_somebody_removed_stay_unless_it_is_said(home: Path, ledger: Database):
    for name, option in (("anna", ()), ("bob", ("--files",))):
        added(home, name)
        theirs = UserFiles(home, find_user(ledger, name).id)
        begun = theirs.upload("a", 100)
        begun.write(b"abc")
        begun.finish()

        told = terrazzo(home, "user", "remove", name, *option)

        assert theirs.used() == (0 if option else 3)
        assert ("3 bytes" in told.stderr) == (not option)


def test_who_sees_a_collection_is_said_and_listed(home: Path):
    added(home, "anna")
    said = [
        ("a", "--group", "agri"), ("b", "--licence", "vhr", "--licence-url", "https://e.org"),
        ("c", "--owner", "anna"), ("d", "--users"), ("e", "--group", "agri"), ("e", "--public"),
    ]  # fmt: skip
    for collection, *options in said:
        result = terrazzo(home, "access", collection, *options)
        assert result.exit_code == 0, result.output
        assert "no collection" in result.stderr

    lines = [line.split() for line in terrazzo(home, "access").stdout.splitlines()[1:]]

    assert lines == [
        ["a", "group", "agri", "-"],
        ["b", "licence", "vhr", "-"],
        ["c", "private", "-", "anna"],
        ["d", "users", "-", "-"],
    ]
    assert terrazzo(home, "user", "accept", "anna", "vhr").exit_code == 0
    assert terrazzo(home, "user", "accept", "anna", "other").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [("a",), ("a", "--public", "--private"), ("a", "--group", "x", "--licence", "y"), ("--public",),
     ("a", "--owner", "nobody"), ("a", "--group", " "), ("a", "--licence", "x/y")],
)  # fmt: skip
def test_it_is_said_exactly_who_sees_a_collection(home: Path, arguments: tuple[str, ...]):
    assert terrazzo(home, "access", *arguments).exit_code == 2
    assert len(terrazzo(home, "access").stdout.splitlines()) == 1


def test_a_server_without_accounts_is_not_opened_to_others(home: Path):
    ended = subprocess.run(
        [*PROGRAM, "--home", str(home), "serve", "--host", "0.0.0.0", "--port", "0"],  # noqa: S104
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert ended.returncode == 2
    assert "terrazzo user add" in ended.stderr
    assert "--oidc" in ended.stderr


def test_a_wrong_list_of_providers_is_told(home: Path, tmp_path: Path):
    (tmp_path / "providers.toml").write_text('[[provider]]\nid = "a"\n')
    ended = subprocess.run(
        [*PROGRAM, "--home", str(home), "serve", "--oidc", str(tmp_path / "providers.toml")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert ended.returncode == 2
    assert "issuer is missing" in ended.stderr
