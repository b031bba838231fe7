"""Log-ins with a password: tokens, and patience with those who guess.

A token is random and only its SHA-256 is kept. Who fails often, with one name from one address, has
to wait a little longer each time, up to a minute; somebody who knows the password and comes from
elsewhere is not held up by them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from terrazzo.errors import TerrazzoError
from terrazzo.geo.times import parse_time
from terrazzo.ledger.clock import after, now
from terrazzo.ledger.passwords import hashed, is_outdated, is_password
from terrazzo.ledger.schema import failure, token
from terrazzo.ledger.schema import user as account
from terrazzo.ledger.users import BASIC, is_login, principal_in

if TYPE_CHECKING:
    from terrazzo.ledger.access import Principal
    from terrazzo.ledger.database import Database

FREE_FAILURES = 5
"""Failures of one name from one address after which there is a wait."""
FREE_FAILURES_OF_ADDRESS = 50
"""Failures of one address, whatever the name."""
LONGEST_WAIT = 60.0
"""Seconds between tries of somebody who always fails."""
FORGOTTEN = 3600.0
"""Seconds after which failures are forgotten."""
_BYTES = 32
_REFUSED = (
    "Name and password do not belong to an account of this server. Both are case-sensitive; an "
    "operator can set a new password with `terrazzo user password NAME`."
)
_LONGEST = 200


class CredentialsInvalid(TerrazzoError):
    """Name and password do not belong together."""

    code, status = "CredentialsInvalid", 403


class TooManyFailures(TerrazzoError):
    """Somebody tried too many wrong passwords and has to wait."""

    code, status = "TooManyFailures", 429

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds))
        super().__init__(
            f"Too many log-ins have failed. Wait {self.seconds} seconds before the next one. If "
            "you forgot the password, ask the operator to set a new one."
        )


def log_in(database: Database, login: str, password: str, address: str, hours: float) -> str:
    """Return a new token for somebody who knows the password.

    Args:
        database: the ledger.
        login: log-in name.
        password: what they say is the password.
        address: network address that they come from.
        hours: how long the token is good.

    Raises:
        TooManyFailures: too many have failed before; says how long to wait.
        CredentialsInvalid: there is no such name, it is disabled, or the password is another.
    """
    keys = _keys(login, address)
    _wait_over(database, keys)
    with database.reading() as connection:
        chosen = select(account.c.id, account.c.password, account.c.enabled).where(
            account.c.provider == BASIC, account.c.subject == login
        )
        row = connection.execute(chosen).first() if is_login(login) else None
    known = is_password(password, row.password if row else "")
    if row is None or not known or not row.enabled:
        _count(database, keys)
        raise CredentialsInvalid(_REFUSED)
    made = secrets.token_urlsafe(_BYTES)
    renewed = hashed(password) if is_outdated(row.password) else row.password
    with database.writing() as connection:
        # Not if somebody has changed the password, or shut them out, since it was checked.
        same = (account.c.id == row.id) & (account.c.password == row.password) & account.c.enabled
        if not connection.execute(update(account).where(same).values(password=renewed)).rowcount:
            raise CredentialsInvalid(_REFUSED)
        connection.execute(delete(failure).where(failure.c.digest == next(iter(keys))))
        connection.execute(delete(token).where(token.c.expires < now()))
        connection.execute(
            insert(token).values(
                digest=_digest(made), account=row.id, created=now(), expires=after(hours * 3600)
            )
        )
    return made


def holder_of(database: Database, given: str) -> Principal | None:
    """Return whose token that is; None if it is wrong, has expired, or the account is closed."""
    if len(given) > _LONGEST:
        return None
    with database.reading() as connection:
        account_id = connection.execute(
            select(token.c.account).where(token.c.digest == _digest(given), token.c.expires > now())
        ).scalar()
        return None if account_id is None else principal_in(connection, account_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _keys(login: str, address: str) -> dict[str, int]:
    """Return under which names failures are counted, and how many are free."""
    place = _network(address)
    return {
        _digest(f"{login}\n{place}"): FREE_FAILURES,
        _digest(f"\n{place}"): FREE_FAILURES_OF_ADDRESS,
    }


def _network(address: str) -> str:
    """Return what one person can change least of an address: IPv6 hands out 2^64 to everybody."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    return str(ipaddress.ip_network((known, 64), strict=False))


def _wait_over(database: Database, keys: dict[str, int]) -> None:
    """Refuse somebody who has to wait.

    Raises:
        TooManyFailures: they have.
    """
    with database.reading() as connection:
        rows = connection.execute(select(failure).where(failure.c.digest.in_(list(keys))))
        counted = [(row["digest"], row["count"], row["last"]) for row in rows.mappings()]
    left = 0.0
    for digest, count, last in counted:
        over = count - keys[digest]
        wait = min(2.0 ** min(over, 10), LONGEST_WAIT) if over >= 0 else 0.0
        left = max(left, wait - (datetime.now(UTC) - parse_time(last)).total_seconds())
    if left > 0:
        raise TooManyFailures(left)


def _count(database: Database, keys: dict[str, int]) -> None:
    with database.writing() as connection:
        connection.execute(delete(failure).where(failure.c.last < after(-FORGOTTEN)))
    for key in keys:
        try:
            _add(database, key)
        except IntegrityError:  # another failure has made the row at this moment
            _add(database, key)


def _add(database: Database, key: str) -> None:
    same = update(failure).where(failure.c.digest == key)
    with database.writing() as connection:
        added = connection.execute(same.values(count=failure.c.count + 1, last=now()))
        if not added.rowcount:
            connection.execute(insert(failure).values(digest=key, count=1, last=now()))
