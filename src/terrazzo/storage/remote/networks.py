"""Which addresses of the Internet everybody may reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_CARRYING: Final = (ip_network("64:ff9b::/96"), ip_network("::/96"))
"""Networks of version 6 whose last 32 bits are an address of version 4."""
_LOCAL_TRANSLATED: Final = ip_network("64:ff9b:1::/48")


def is_public(address: str) -> bool:
    """Tell whether an IP address is one that everybody may reach, and so is what it may carry."""
    return all(_may_be_reached(one) for one in carried(address))


def _may_be_reached(one: IPv4Address | IPv6Address) -> bool:
    local = isinstance(one, IPv6Address) and (one.is_site_local or one in _LOCAL_TRANSLATED)
    return one.is_global and not one.is_multicast and not local


def carried(address: str) -> list[IPv4Address | IPv6Address]:
    """Return an address with the one of version 4 that networks make of it, if they do."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        return [parsed]
    if parsed.ipv4_mapped is not None:
        return [parsed.ipv4_mapped]
    found: list[IPv4Address | IPv6Address] = [parsed]
    if parsed.sixtofour is not None:
        found.append(parsed.sixtofour)
    if parsed.teredo is not None:
        found += parsed.teredo
    if any(parsed in network for network in _CARRYING):
        found.append(IPv4Address(int(parsed) & 0xFFFFFFFF))
    return found
