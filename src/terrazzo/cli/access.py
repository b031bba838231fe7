"""The command that says who may see a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from terrazzo.cli.options import DATABASE, Settings, open_ledger

if TYPE_CHECKING:
    from terrazzo.ledger import Database
    from terrazzo.ledger.collections import CollectionAccess

_ROW = "{:<40}  {:<9}  {:<24}  {}"


@click.command()
@click.argument("collection", required=False)
@click.option("--public", is_flag=True, help="Everybody sees it, logged in or not.")
@click.option("--users", is_flag=True, help="Everybody who is logged in sees it.")
@click.option("--private", is_flag=True, help="Only its owner and admins see it.")
@click.option("--group", default="", help="The members of this group see it.")
@click.option("--licence", default="", help="Those who have accepted this licence see it.")
@click.option("--licence-title", default="", help="What people call the licence.")
@click.option("--licence-url", default="", metavar="URL", help="Where its text is.")
@click.option(
    "--owner", metavar="NAME", help='Whose it is: they see and change it; "" is nobody\'s.'
)
@DATABASE
@click.pass_obj
def access(
    settings: Settings,
    collection: str | None,
    *,
    public: bool,
    users: bool,
    private: bool,
    group: str,
    licence: str,
    licence_title: str,
    licence_url: str,
    owner: str | None,
    database: str,
) -> None:
    """Say who may see a COLLECTION, or list who may see which.

    A collection of which nothing was said is public. For all others it does not exist: it is in no
    list, no search and no graph of theirs. A collection may be named before it is ingested. Whose
    it is stays as it was where --owner is not given.

    \b
    Examples:
      terrazzo access
      terrazzo access parcels --group agri
      terrazzo access vhr-2024 --licence vhr --licence-url https://example.org/vhr.html
      terrazzo access mine --private --owner alice
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.ledger import users as people  # noqa: PLC0415 - loads the database
    from terrazzo.ledger.access import Visibility  # noqa: PLC0415
    from terrazzo.ledger.collections import (  # noqa: PLC0415
        CollectionAccess,
        accesses,
        set_access,
    )
    from terrazzo.ledger.licences import set_licence  # noqa: PLC0415

    given = {
        Visibility.PUBLIC: public,
        Visibility.USERS: users,
        Visibility.PRIVATE: private,
        Visibility.GROUP: bool(group),
        Visibility.LICENCE: bool(licence),
    }
    chosen = [visibility for visibility, wanted in given.items() if wanted]
    with open_ledger(settings, database) as ledger:
        if collection is None:
            if chosen or owner:
                raise click.UsageError("Name the collection first.")
            _list(settings, ledger)
            return
        if not chosen and owner:
            chosen = [Visibility.PRIVATE]
        if len(chosen) != 1:
            raise click.UsageError(
                "Say who may see it, by exactly one of --public, --users, --private, --group and "
                "--licence."
            )
        if licence:
            set_licence(ledger, licence, title=licence_title, href=licence_url)
        audience = "".join(people.checked_groups([group])) if group else licence
        said = {one.id: one for one in accesses(ledger)}
        if owner is None and collection in said:
            whose = said[collection].owner
        else:
            whose = people.find_user(ledger, owner).id if owner else ""
        told = CollectionAccess(collection, chosen[0], audience, whose)
        set_access(ledger, told)
        names = {one.id: one.login for one in people.users(ledger)}
    click.echo(_line(told, names.get(whose, whose)))
    if collection not in _catalogued(settings):
        click.echo(
            f"There is no collection {collection!r} yet; this holds once there is.", err=True
        )


def _list(settings: Settings, ledger: Database) -> None:
    from terrazzo.ledger.access import Visibility  # noqa: PLC0415
    from terrazzo.ledger.collections import CollectionAccess, accesses  # noqa: PLC0415
    from terrazzo.ledger.users import users  # noqa: PLC0415

    names = {one.id: one.login for one in users(ledger)}
    said = {one.id: one for one in accesses(ledger)}
    click.echo(_ROW.format("collection", "seen by", "group or licence", "owner"))
    for name in sorted({*said, *_catalogued(settings)}):
        told = said.get(name) or CollectionAccess(name, Visibility.PUBLIC)
        click.echo(_line(told, names.get(told.owner, told.owner)))


def _line(told: CollectionAccess, owner: str) -> str:
    return _ROW.format(told.id, told.visibility, told.audience or "-", owner or "-")


def _catalogued(settings: Settings) -> list[str]:
    workspace = settings.workspace()
    if not workspace.has_catalog:
        return []
    return [str(one["id"]) for one in workspace.catalog().collections()]
