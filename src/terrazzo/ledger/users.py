"""Accounts: who there is, and what makes a principal of one.

An account has a random id that is never given again, so that nobody inherits what somebody of the
same name left. People of this server log in with a name and a password (provider `basic`); those of
an OpenID Connect provider get their account when they come for the first time.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from terrazzo.errors import TerrazzoError
from terrazzo.ledger.access import LOCAL, Principal
from terrazzo.ledger.clock import now
from terrazzo.ledger.passwords import hashed
from terrazzo.ledger.schema import acceptance, entry, process, service, token
from terrazzo.ledger.schema import user as account

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, RowMapping

    from terrazzo.ledger.database import Database

BASIC = "basic"
"""The provider of accounts with a password of this server."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_LONGEST_GROUP = 255
_ID_BYTES = 10


class UserUnknown(TerrazzoError):
    """Nobody has that log-in name."""

    code, status = "UserUnknown", 404


class UserExists(TerrazzoError):
    """Somebody has that log-in name."""

    code, status = "UserExists", 400


class UserInvalid(TerrazzoError):
    """An account cannot be like that."""

    code, status = "UserInvalid", 400


class AccountClosed(TerrazzoError):
    """The account of somebody was disabled or removed."""

    code, status = "PermissionsInsufficient", 403


@dataclass(frozen=True, slots=True)
class Account:
    """What is kept of somebody."""

    id: str
    """Random; folders and owners are named by it."""
    provider: str
    """`basic`, or the id of an OpenID Connect provider."""
    subject: str
    """The log-in name, or what the provider calls them."""
    name: str
    """What people call them; may be empty."""
    groups: tuple[str, ...]
    """Where the operator put them, sorted."""
    claimed: tuple[str, ...]
    """Where their provider says that they are, sorted."""
    admin: bool
    """Whether they see everything."""
    enabled: bool
    """Whether they may log in."""
    quota: int | None
    """Bytes that their files may have; None is the server's default."""
    created: str
    """Since when there is the account."""

    @property
    def login(self) -> str:
        """How the operator names them: `alice`, or `PROVIDER/SUBJECT`."""
        return self.subject if self.provider == BASIC else f"{self.provider}/{self.subject}"


def principal_of(database: Database, account_id: str) -> Principal:
    """Return somebody as they are now: their groups, licences and rights.

    Args:
        database: the ledger.
        account_id: of an account; `local` is the one user of a server without log-in.

    Raises:
        AccountClosed: the account was disabled or removed.
    """
    if account_id == LOCAL.id:
        return LOCAL
    with database.reading() as connection:
        found = principal_in(connection, account_id)
    if found is None:
        raise AccountClosed(
            "The account that this belongs to was disabled or removed. An operator can enable it "
            "again with `terrazzo user enable NAME`."
        )
    return found


def principal_in(connection: Connection, account_id: str) -> Principal | None:
    """Return the same within a transaction; None for a closed account."""
    row = (
        connection.execute(select(account).where(account.c.id == account_id, account.c.enabled))
        .mappings()
        .first()
    )
    if row is None:
        return None
    licences = connection.execute(
        select(acceptance.c.licence).where(acceptance.c.account == account_id)
    ).scalars()
    found = _account(row)
    return Principal(
        found.id,
        found.name or found.subject,
        frozenset((*found.groups, *found.claimed)),
        frozenset(licences),
        found.admin,
        found.quota,
    )


def has_accounts(database: Database) -> bool:
    """Tell whether anybody can log in with an account of this server."""
    with database.reading() as connection:
        return connection.execute(select(account.c.id).limit(1)).first() is not None


def add_user(
    database: Database,
    login: str,
    password: str,
    *,
    name: str = "",
    groups: Collection[str] = (),
    admin: bool = False,
    quota: int | None = None,
) -> Account:
    """Make an account that logs in with a password.

    Args:
        database: the ledger.
        login: log-in name, letters, digits and `. _ @ + -`, at most 64; upper and lower case are
            different.
        password: see `passwords.hashed`.
        name: what people call them.
        groups: where they belong.
        admin: whether they see everything.
        quota: bytes that their files may have; None is the server's default.

    Raises:
        UserInvalid, PasswordInvalid: name, group or password cannot be used.
        UserExists: somebody has that name.
    """
    if not is_login(login):
        raise UserInvalid(
            f"{login!r} is no log-in name. Use at most 64 letters, digits and . _ @ + -, and begin "
            "with a letter or digit."
        )
    row = _row(BASIC, login, name) | {
        "password": hashed(password),
        "groups": _text(checked_groups(groups)),
        "admin": admin,
        "quota": quota,
    }
    try:
        with database.writing() as connection:
            connection.execute(insert(account).values(row))
    except IntegrityError:
        raise UserExists(
            f"There is a user {login!r} already. Change the password with `terrazzo user password "
            f"{login}`, or choose another name."
        ) from None
    return find_user(database, login)


def seen_user(
    database: Database, provider: str, subject: str, name: str, groups: Collection[str] | None
) -> Principal | None:
    """Return who comes with a good token of an OpenID Connect provider.

    Their account is made at first sight; afterwards name and groups are kept as the provider says.

    Args:
        database: the ledger.
        provider: its id.
        subject: what it calls them, for ever.
        name: what people call them; empty keeps what is known.
        groups: where it says that they are; None keeps what is known.

    Returns:
        None if their account is disabled.

    Raises:
        UserInvalid: a group cannot be one.
    """
    told = {"name": name} if name else {}
    if groups is not None:
        told["claimed"] = _text(checked_groups(groups))
    same = (account.c.provider == provider) & (account.c.subject == subject)
    with database.reading() as connection:
        known = connection.execute(select(account).where(same)).mappings().first()
        if known and all(known[key] == value for key, value in told.items()):
            return principal_in(connection, known["id"])
    try:
        with database.writing() as connection:
            if known is None:
                connection.execute(insert(account).values(_row(provider, subject, name) | told))
            else:
                connection.execute(update(account).where(same).values(told))
    except IntegrityError:
        pass  # two requests of somebody new came at once, and the other one made the account
    with database.reading() as connection:
        name_of = connection.execute(select(account.c.id).where(same)).scalar_one()
        return principal_in(connection, name_of)


def is_login(login: str) -> bool:
    """Tell whether somebody could have that log-in name."""
    return _NAME.fullmatch(login) is not None


def users(database: Database) -> list[Account]:
    """Return all accounts, sorted by provider and name."""
    with database.reading() as connection:
        rows = connection.execute(select(account).order_by(account.c.provider, account.c.subject))
        return [_account(row) for row in rows.mappings()]


def find_user(database: Database, login: str) -> Account:
    """Return the account of a log-in name, `PROVIDER/SUBJECT` or id.

    Raises:
        UserUnknown: there is none.
    """
    provider, slash, subject = login.partition("/")
    named = (
        (account.c.provider == provider) & (account.c.subject == subject)
        if slash
        else (account.c.provider == BASIC) & (account.c.subject == login)
    )
    with database.reading() as connection:
        rows = connection.execute(select(account).where(named | (account.c.id == login))).mappings()
        found = rows.first()
    if found is None:
        raise UserUnknown(
            f"There is no user {login!r}. `terrazzo user list` shows all; people of an OpenID "
            "Connect provider are named PROVIDER/SUBJECT and are there once they have logged in."
        )
    return _account(found)


def change_user(database: Database, login: str, /, **changes: Any) -> Account:
    """Change what is kept of somebody.

    Args:
        database: the ledger.
        login: as for `find_user`.
        changes: `name`, `groups`, `admin`, `enabled`, `quota`, `password`. A new password, and
            disabling, end all log-ins.

    Raises:
        UserUnknown: there is nobody of that name.
        UserInvalid, PasswordInvalid: a group or password cannot be used.
    """
    found = find_user(database, login)
    values = dict(changes)
    if "groups" in values:
        values["groups"] = _text(checked_groups(values["groups"]))
    if "password" in values:
        if found.provider != BASIC:
            raise UserInvalid(
                f"{found.login} logs in at the provider {found.provider!r}, which keeps the "
                "password."
            )
        values["password"] = hashed(values["password"])
    with database.writing() as connection:
        connection.execute(update(account).where(account.c.id == found.id).values(values))
        if "password" in changes or changes.get("enabled") is False:
            connection.execute(delete(token).where(token.c.account == found.id))
    return find_user(database, found.id)


def remove_user(database: Database, login: str) -> Account:
    """Remove an account with its log-ins, accepted licences, processes and services.

    Jobs and files stay until they are deleted; only admins see them.

    Raises:
        UserUnknown: there is nobody of that name.
    """
    found = find_user(database, login)
    theirs = select(service.c.id).where(service.c.owner == found.id)
    with database.writing() as connection:
        connection.execute(
            delete(entry).where(entry.c.kind == "service", entry.c.object.in_(theirs))
        )
        for table in (process, service):
            connection.execute(delete(table).where(table.c.owner == found.id))
        for table in (token, acceptance):
            connection.execute(delete(table).where(table.c.account == found.id))
        connection.execute(delete(account).where(account.c.id == found.id))
    return found


def checked_groups(groups: Collection[str]) -> tuple[str, ...]:
    """Return names of groups, sorted, each once.

    Raises:
        UserInvalid: one cannot be a group.
    """
    for group in groups:
        if not group.strip() or not group.isprintable() or len(group) > _LONGEST_GROUP:
            raise UserInvalid(
                f"{group[:_LONGEST_GROUP]!r} is no group. A group is a text of 1 to "
                f"{_LONGEST_GROUP} printable letters."
            )
    return tuple(sorted({group.strip() for group in groups}))


def _row(provider: str, subject: str, name: str) -> dict[str, Any]:
    return {
        "id": f"u{secrets.token_hex(_ID_BYTES)}",
        "provider": provider,
        "subject": subject,
        "name": name,
        "created": now(),
    }


def _text(groups: tuple[str, ...]) -> str:
    return json.dumps(groups)


def _account(row: RowMapping) -> Account:
    return Account(
        row["id"],
        row["provider"],
        row["subject"],
        row["name"],
        tuple(json.loads(row["groups"])),
        tuple(json.loads(row["claimed"])),
        row["admin"],
        row["enabled"],
        row["quota"],
        row["created"],
    )
