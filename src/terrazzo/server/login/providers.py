"""Reads the file in which an operator lists OpenID Connect providers."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from terrazzo.errors import TerrazzoError
from terrazzo.server.login.fetch import is_loopback
from terrazzo.server.settings import OidcProvider

if TYPE_CHECKING:
    from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9_]{1,20}")
_LISTS = {"scopes", "members", "redirect_urls"}
_SECRET_FILE = "introspection_secret_file"  # noqa: S105 - a name
_KNOWN = {one.name for one in fields(OidcProvider)} - {"introspection_secret"} | {_SECRET_FILE}
_NEEDED = [one.name for one in fields(OidcProvider) if one.default is MISSING]
_OPAQUE = ("", "introspection", "userinfo")


class ProvidersInvalid(TerrazzoError):
    """The file does not list OpenID Connect providers as it should."""

    code, status = "ProvidersInvalid", 400


def read_providers(path: Path) -> tuple[OidcProvider, ...]:
    """Read a TOML file with one table `[[provider]]` per OpenID Connect provider.

    Args:
        path: of the file; a secret's file is looked for beside it.

    Returns:
        The providers in the order of the file; the first one is the default of clients.

    Raises:
        ProvidersInvalid: the file cannot be read, or a provider cannot be used.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProvidersInvalid(f"{path} cannot be read as TOML: {error}.") from error
    tables = told.get("provider")
    if not isinstance(tables, list) or not tables or told.keys() - {"provider"}:
        raise ProvidersInvalid(
            f'{path} lists no providers. Write one table `[[provider]]` for each, with id = "..." '
            'and issuer = "https://...".'
        )
    found = tuple(_provider(table, path) for table in tables)
    names = [one.id for one in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ProvidersInvalid(f"{path} has two providers with the id {min(twice)!r}.")
    return found


def _provider(table: Any, path: Path) -> OidcProvider:
    if not isinstance(table, dict):
        raise ProvidersInvalid(f"{path}: a provider is a table, `[[provider]]`.")
    place = f"{path}, provider {table.get('id')!r}"
    unknown = sorted(table.keys() - _KNOWN)
    if unknown:
        raise ProvidersInvalid(
            f"{place}: {unknown[0]!r} is unknown. Known are {', '.join(sorted(_KNOWN))}."
        )
    for name in _NEEDED:
        if name not in table:
            raise ProvidersInvalid(f"{place}: {name} is missing.")
    values = {name: _value(name, value, place) for name, value in table.items()}
    secret_file = values.pop(_SECRET_FILE, "")
    if secret_file:
        values["introspection_secret"] = _secret(path.parent / secret_file, place)
    provider = OidcProvider(**values)
    _check(provider, place)
    return provider


def _value(name: str, value: Any, place: str) -> Any:
    if name in _LISTS:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise ProvidersInvalid(f"{place}: {name} is a list of texts.")
    if not isinstance(value, str):
        raise ProvidersInvalid(f"{place}: {name} is a text.")
    return value


def _secret(path: Path, place: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ProvidersInvalid(f"{place}: {_SECRET_FILE} cannot be read: {error}.") from error


def _check(provider: OidcProvider, place: str) -> None:
    if not _ID.fullmatch(provider.id) or provider.id == "basic":
        raise ProvidersInvalid(
            f"{place}: an id has 1 to 20 letters, digits and underscores, and is not 'basic'."
        )
    address = urlsplit(provider.issuer)
    secure = address.scheme == "https" or (
        address.scheme == "http" and is_loopback(address.hostname or "")
    )
    if not secure or not address.hostname or address.query or provider.issuer.endswith("/"):
        raise ProvidersInvalid(
            f"{place}: issuer is {provider.issuer!r}. It is an address with https:// (http:// only "
            "on this machine) without a slash at its end."
        )
    if "openid" not in provider.scopes:
        raise ProvidersInvalid(f"{place}: scopes must hold 'openid'.")
    if not provider.client and not provider.audience:
        raise ProvidersInvalid(
            f"{place}: without client or audience no token can be known to be for this server. "
            'Write client = "..." with the id of the client that openEO clients use, or audience.'
        )
    if provider.opaque not in _OPAQUE:
        raise ProvidersInvalid(
            f"{place}: opaque is {provider.opaque!r}. It is 'introspection' or 'userinfo', or is "
            "left out."
        )
    if provider.opaque == "introspection" and not (
        provider.introspection_client and provider.introspection_secret
    ):
        raise ProvidersInvalid(
            f"{place}: introspection needs introspection_client and {_SECRET_FILE}."
        )
