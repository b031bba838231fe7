"""Whether a server needs a log-in: without one only its own machine may reach it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from terrazzo.errors import TerrazzoError
from terrazzo.ledger import Database, database_url
from terrazzo.ledger.users import has_accounts
from terrazzo.server.login.fetch import is_loopback

if TYPE_CHECKING:
    from terrazzo.drivers.job import Workspace
    from terrazzo.server.settings import ServerSettings

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine that no other one has."""


class LoginMissing(TerrazzoError):
    """A server would be open to everybody who reaches its address."""

    code, status = "LoginMissing", 400


def opened(workspace: Workspace, settings: ServerSettings, host: str) -> ServerSettings:
    """Return the settings with which a server listens on an address.

    Without accounts and providers everybody is the one local user. Such a server listens on
    loopback only and answers only under names of loopback, so that no page of another site reaches
    it through a name that it pointed here.

    Args:
        workspace: whose accounts count.
        settings: what the operator chose.
        host: address to listen on.

    Raises:
        LoginMissing: nobody could log in, and the address, or the public one, is not loopback.
        DatabaseUnusable: accounts cannot be read.
    """
    database = Database(settings.database or database_url(workspace.home))
    try:
        closed = bool(settings.providers) or has_accounts(database)
    finally:
        database.close()
    if closed:
        return replace(settings, open=False)
    own = urlsplit(settings.public_url).hostname
    # Whatever passes requests on from a public address makes them requests of this machine.
    outer = [name for name in (host, own) if name is not None and not is_loopback(name)]
    if outer:
        raise LoginMissing(
            f"Whoever reaches {outer[0]} could read and change everything, because there are no "
            "accounts. Make one with `terrazzo user add NAME`, name OpenID Connect providers with "
            "--oidc FILE, or listen on 127.0.0.1, without a --public-url of others."
        )
    names = (*LOOPBACK, host.lower(), *([own] if own else ()))
    return replace(settings, open=True, hosts=tuple(dict.fromkeys((*settings.hosts, *names))))
