"""Commands for the accounts of a server."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.options import DATABASE, Bytes, Settings, open_ledger

if TYPE_CHECKING:
    from terrazzo.ledger import Database
    from terrazzo.ledger.users import Account

_ROW = "{:<28}  {:<8}  {:<5}  {:<24}  {}"
_NAME = click.argument("name")
_RESTART = (
    "This is the first account: servers that run without log-in have to be started again to ask "
    "for one."
)


@click.group()
def user() -> None:
    """Manage the people who may log in to a server.

    NAME is a log-in name; people of an OpenID Connect provider are PROVIDER/SUBJECT, and are there
    once they have logged in. Without any account a server is open, to its own machine only.
    """


@user.command()
@_NAME
@click.option("--full-name", default="", help="What people call them.")
@click.option("--group", "groups", multiple=True, help="A group; may be given several times.")
@click.option("--admin", is_flag=True, help="Sees everything that belongs to anybody.")
@click.option("--quota", type=Bytes(), help="Room for files.  [default: that of the server]")
@DATABASE
@click.pass_obj
def add(
    settings: Settings,
    name: str,
    *,
    full_name: str,
    groups: tuple[str, ...],
    admin: bool,
    quota: int | None,
    database: str,
) -> None:
    """Make an account; the password is asked for, or read from stdin.

    \b
    Example:
      terrazzo user add alice --group agri
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.ledger.users import add_user, has_accounts  # noqa: PLC0415 - loads the database

    with open_ledger(settings, database) as ledger:
        first = not has_accounts(ledger)
        password = _new_password(name)
        made = add_user(
            ledger, name, password, name=full_name, groups=groups, admin=admin, quota=quota
        )
    click.echo(_line(made))
    if first:
        click.echo(_RESTART, err=True)


@user.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@DATABASE
@click.pass_obj
def list_(settings: Settings, *, as_json: bool, database: str) -> None:
    """List all accounts."""
    from terrazzo.ledger.users import users  # noqa: PLC0415

    with open_ledger(settings, database) as ledger:
        found = users(ledger)
    if as_json:
        for one in found:
            click.echo(json.dumps(_told(one)))
        return
    if not found:
        click.echo("There are no accounts. Make one with `terrazzo user add NAME`.", err=True)
        return
    click.echo(_ROW.format("name", "state", "admin", "groups", "id"))
    for one in found:
        click.echo(_line(one))


@user.command()
@_NAME
@DATABASE
@click.pass_obj
def password(settings: Settings, name: str, *, database: str) -> None:
    """Set a new password; it is asked for, or read from stdin. Ends all log-ins of NAME."""
    from terrazzo.ledger.users import change_user, find_user  # noqa: PLC0415

    with open_ledger(settings, database) as ledger:
        find_user(ledger, name)
        click.echo(_line(change_user(ledger, name, password=_new_password(name))))


@user.command()
@_NAME
@DATABASE
@click.pass_obj
def disable(settings: Settings, name: str, *, database: str) -> None:
    """Shut NAME out, at once; jobs are stopped, and everything that is theirs is kept."""
    from terrazzo.ledger.users import change_user  # noqa: PLC0415

    with open_ledger(settings, database) as ledger:
        changed = change_user(ledger, name, enabled=False)
        _stop_jobs(settings, ledger, changed)
    click.echo(_line(changed))


@user.command()
@_NAME
@DATABASE
@click.pass_obj
def enable(settings: Settings, name: str, *, database: str) -> None:
    """Let NAME in again."""
    _change(settings, database, name, enabled=True)


@user.command()
@_NAME
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@DATABASE
@click.pass_obj
def groups(settings: Settings, name: str, groups: tuple[str, ...], *, database: str) -> None:
    """Put NAME in these groups and no others; without any, in none.

    Groups that an OpenID Connect provider puts people in come on top.
    """
    _change(settings, database, name, groups=groups)


@user.command()
@_NAME
@click.option("--full-name", help="What people call them.")
@click.option("--admin/--no-admin", default=None, help="Whether they see everything.")
@click.option("--quota", type=Bytes(), help="Room for files.")
@DATABASE
@click.pass_obj
def change(
    settings: Settings,
    name: str,
    *,
    full_name: str | None,
    admin: bool | None,
    quota: int | None,
    database: str,
) -> None:
    """Change what is kept of NAME."""
    told = {"name": full_name, "admin": admin, "quota": quota}
    changes = {key: value for key, value in told.items() if value is not None}
    if not changes:
        raise click.UsageError("Say what to change: --full-name, --admin, --no-admin or --quota.")
    _change(settings, database, name, **changes)


@user.command()
@_NAME
@click.argument("licence")
@DATABASE
@click.pass_obj
def accept(settings: Settings, name: str, licence: str, *, database: str) -> None:
    """Note that NAME has accepted a LICENCE, for example on paper."""
    from terrazzo.ledger.licences import accept_licence  # noqa: PLC0415
    from terrazzo.ledger.users import find_user  # noqa: PLC0415

    with open_ledger(settings, database) as ledger:
        found = find_user(ledger, name)
        told = accept_licence(ledger, found.id, licence)
    click.echo(f"{found.login} accepts {told.id} since {told.accepted}")


@user.command()
@_NAME
@click.option("--files", is_flag=True, help="Delete the files that they uploaded, too.")
@DATABASE
@click.pass_obj
def remove(settings: Settings, name: str, *, files: bool, database: str) -> None:
    """Remove the account NAME with its log-ins, processes and services.

    Jobs are stopped and stay, with results that only admins see. To shut somebody out for a while,
    use `disable`.
    """
    from terrazzo.ledger.files import UserFiles  # noqa: PLC0415
    from terrazzo.ledger.users import remove_user  # noqa: PLC0415

    with open_ledger(settings, database) as ledger:
        removed = remove_user(ledger, name)
        _stop_jobs(settings, ledger, removed)
    theirs = UserFiles(settings.home, removed.id)
    if files:
        theirs.delete_all()
    elif left := theirs.used():
        click.echo(f"{left} bytes of files are kept in {theirs.folder}", err=True)
    click.echo(f"Removed {removed.login}")


def _change(settings: Settings, database: str, login: str, /, **changes: Any) -> None:
    from terrazzo.ledger.users import change_user  # noqa: PLC0415

    with open_ledger(settings, database) as ledger:
        click.echo(_line(change_user(ledger, login, **changes)))


def _stop_jobs(settings: Settings, ledger: Database, account: Account) -> None:
    from terrazzo.ledger import Principal  # noqa: PLC0415
    from terrazzo.ledger.folders import JobFolders  # noqa: PLC0415
    from terrazzo.ledger.jobs import Jobs  # noqa: PLC0415

    jobs, owner = Jobs(ledger, JobFolders(settings.home)), Principal(account.id)
    for one in jobs.listed(owner):
        jobs.stop(owner, one.id)


def _new_password(name: str) -> str:
    """Ask twice at a terminal; otherwise take the first line of stdin."""
    if sys.stdin.isatty():
        asked: str = click.prompt(
            f"Password of {name}", hide_input=True, confirmation_prompt="The same again", err=True
        )
        return asked
    return sys.stdin.readline().rstrip("\r\n")


def _line(one: Account) -> str:
    return _ROW.format(
        one.login,
        "enabled" if one.enabled else "disabled",
        "yes" if one.admin else "no",
        ", ".join(sorted({*one.groups, *one.claimed})) or "-",
        one.id,
    )


def _told(one: Account) -> dict[str, Any]:
    return {
        "name": one.login,
        "id": one.id,
        "full_name": one.name,
        "enabled": one.enabled,
        "admin": one.admin,
        "groups": [*one.groups],
        "claimed_groups": [*one.claimed],
        "quota": one.quota,
        "created": one.created,
    }
