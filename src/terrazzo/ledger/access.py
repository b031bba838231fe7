"""Who somebody is, and the one rule of what they may see.

Everything that belongs to somebody has an owner and a visibility. `visible` turns a principal
into the filter that every query applies; what it leaves out does not exist for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import and_, false, or_, true

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table


class Visibility(StrEnum):
    """Who may see a thing besides its owner."""

    PRIVATE = "private"
    """Nobody."""
    PUBLIC = "public"
    """Everybody, logged in or not."""
    USERS = "users"
    """Everybody who is logged in."""
    GROUP = "group"
    """The members of a group, `audience`."""
    LICENCE = "licence"
    """Those who have accepted a licence, `audience`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks."""

    id: str
    """Their account; empty for somebody who is not logged in."""
    name: str = ""
    """What people call them."""
    groups: frozenset[str] = frozenset()
    """The groups that they are in."""
    licences: frozenset[str] = frozenset()
    """The licences that they have accepted."""
    admin: bool = False
    """Whether they see everything."""
    quota: int | None = None
    """Bytes that their files may have; None is the server's default."""

    @property
    def known(self) -> bool:
        """Whether they are logged in."""
        return bool(self.id)


ANONYMOUS = Principal("")
"""Somebody who is not logged in."""
LOCAL = Principal("local", "local", admin=True)
"""The one user of a server without log-in, which only its own machine reaches."""


def visible(principal: Principal, table: Table) -> ColumnElement[bool]:
    """Return the condition on a table's rows that a principal may see."""
    if principal.admin:
        return true()
    who, audience = table.c.visibility, table.c.audience
    seen = [who == Visibility.PUBLIC]
    if principal.known:
        seen += [
            table.c.owner == principal.id,
            who == Visibility.USERS,
            and_(who == Visibility.GROUP, audience.in_(sorted(principal.groups))),
            and_(who == Visibility.LICENCE, audience.in_(sorted(principal.licences))),
        ]
    return or_(*seen)


def owned(principal: Principal, table: Table) -> ColumnElement[bool]:
    """Return the condition on a table's rows that a principal may change: their own."""
    return table.c.owner == principal.id if principal.known else false()


def changeable(principal: Principal, table: Table) -> ColumnElement[bool]:
    """Return the condition on rows that a principal may change: for admins all, else their own.

    For what belongs to the whole server, such as collections; jobs and files of somebody are
    changed by nobody else.
    """
    return true() if principal.admin else owned(principal, table)
