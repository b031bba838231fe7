"""Licences that open collections to those who accept them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from terrazzo.errors import TerrazzoError
from terrazzo.ledger.clock import now
from terrazzo.ledger.schema import acceptance, licence

if TYPE_CHECKING:
    from terrazzo.ledger.database import Database

_LONGEST = 100


class LicenceUnknown(TerrazzoError):
    """There is no such licence to accept."""

    code, status = "LicenceUnknown", 404


class LicenceInvalid(TerrazzoError):
    """A licence cannot be named so."""

    code, status = "LicenceInvalid", 400


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence, and whether somebody has accepted it."""

    id: str
    """Its name."""
    title: str
    """What people call it; may be empty."""
    href: str
    """Address of its text; may be empty."""
    accepted: str
    """Since when it is accepted; empty if it is not."""


def set_licence(database: Database, name: str, *, title: str = "", href: str = "") -> None:
    """Make a licence, or change its title and the address of its text where they are given.

    Raises:
        LicenceInvalid: it cannot be named so.
    """
    if not _is_name(name):
        raise LicenceInvalid(
            f"{name[:_LONGEST]!r} is no name of a licence. Take 1 to {_LONGEST} printable letters "
            "without a slash, for example its SPDX identifier."
        )
    told = {key: value for key, value in (("title", title), ("href", href)) if value}
    with database.writing() as connection:
        if connection.execute(select(licence.c.id).where(licence.c.id == name)).first() is None:
            connection.execute(insert(licence).values(id=name, title=title, href=href))
        elif told:
            connection.execute(update(licence).where(licence.c.id == name).values(told))


def licences(database: Database, account: str) -> list[Licence]:
    """Return all licences, sorted by name, with what an account has accepted."""
    joined = licence.outerjoin(
        acceptance,
        and_(acceptance.c.licence == licence.c.id, acceptance.c.account == account),
    )
    chosen = select(licence, acceptance.c.accepted).select_from(joined).order_by(licence.c.id)
    with database.reading() as connection:
        rows = connection.execute(chosen).all()
    return [Licence(row.id, row.title, row.href, row.accepted or "") for row in rows]


def accept_licence(database: Database, account: str, name: str) -> Licence:
    """Note that an account accepts a licence; again is the same as once.

    Raises:
        LicenceUnknown: there is no such licence.
    """
    found = {one.id: one for one in licences(database, account)}.get(name)
    if found is None:
        raise LicenceUnknown(f"There is no licence {name!r} to accept. GET /me/licences lists all.")
    if found.accepted:
        return found
    accepted = now()
    try:
        with database.writing() as connection:
            connection.execute(
                insert(acceptance).values(account=account, licence=name, accepted=accepted)
            )
    except IntegrityError:
        pass  # accepted twice at the same moment
    return replace(found, accepted=accepted)


def withdraw_licence(database: Database, account: str, name: str) -> None:
    """Note that an account no longer accepts a licence.

    Raises:
        LicenceUnknown: it has not accepted such a licence.
    """
    mine = (acceptance.c.account == account) & (acceptance.c.licence == name)
    found = 0
    if _is_name(name):
        with database.writing() as connection:
            found = connection.execute(delete(acceptance).where(mine)).rowcount
    if not found:
        raise LicenceUnknown(
            f"You have not accepted a licence {name[:_LONGEST]!r}. GET /me/licences lists all."
        )


def _is_name(name: str) -> bool:
    """Tell whether a licence may have that name."""
    return bool(name.strip()) and name.isprintable() and "/" not in name and len(name) <= _LONGEST
