"""Services as openEO describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from terrazzo.ledger import Visibility
from terrazzo.logs import Level
from terrazzo.server.maps.configuration import MATRICES, Configuration
from terrazzo.server.services.keys import key_of
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import token

if TYPE_CHECKING:
    from fastapi import Request

    from terrazzo.ledger import Principal
    from terrazzo.ledger.services import Service
    from terrazzo.server.parts import Parts
    from terrazzo.server.web.paging import Page


def listed(request: Request, shared: Parts, who: Principal, service: Service) -> dict[str, Any]:
    """Return what a list of services says of one."""
    told = {"title": service.title, "description": service.description}
    return {
        "id": service.id,
        **{name: text for name, text in told.items() if text is not None},
        "type": service.type,
        "enabled": service.enabled,
        "url": _url(request, shared, who, service),
        "created": service.created,
        "log_level": service.options.get("log_level", Level.INFO.value),
    }


def paged(
    page: Page, found: list[Service], here: str
) -> tuple[list[Service], list[dict[str, str]]]:
    """Return the services of a page, and the links of the list.

    Args:
        page: which part is wanted.
        found: its services, and one more if there is a next page.
        here: address of the list.
    """
    links = [link("self", here)]
    if page.size is not None and len(found) > page.size:
        found = found[: page.size]
        behind = {"limit": page.size, "after": token([found[-1].created, found[-1].id])}
        links.append(link("next", f"{here}?{urlencode(behind)}"))
    return found, links


def described(request: Request, shared: Parts, who: Principal, service: Service) -> dict[str, Any]:
    """Return all that there is to know of a service.

    Args:
        request: tells under what address the server was reached.
        shared: the parts of the server.
        who: who asks; addresses for its owner work for whoever has them.
        service: the service.
    """
    key = _key(shared, who, service)

    def at(*path: str) -> str:
        return address(request, shared.settings, "services", service.id, *path)

    page = f"{address(request, shared.settings)}/#{service.id}{key}"
    return listed(request, shared, who, service) | {
        "process": dict(service.process),
        "configuration": dict(service.configuration),
        "attributes": {
            "tiles": {name: _tiles(at(), name, key) for name in MATRICES},
            "wmts": at("wmts") + key,
            "range": {
                end: service.options[end] for end in ("min", "max") if end in service.options
            },
        },
        "links": [
            link("self", at()),
            link("monitor", at("logs"), title="Log"),
            link("about", at("map") + key, title="What a map needs to know"),
            link("alternate", page, "text/html", "Map"),
        ],
    }


def _key(shared: Parts, who: Principal, service: Service) -> str:
    """Return the query by which an address works without log-in: for the owner to give away."""
    if service.visibility == Visibility.PUBLIC or service.owner != who.id:
        return ""
    return f"?key={key_of(shared.signer, service.id)}"


def _url(request: Request, shared: Parts, who: Principal, service: Service) -> str:
    base = address(request, shared.settings, "services", service.id)
    key = _key(shared, who, service)
    if service.type == "WMTS":
        return f"{base}/wmts{key}"
    return _tiles(base, Configuration.of(service.configuration).tilematrixset, key)


def _tiles(base: str, matrix: str, key: str) -> str:
    return f"{base}/tiles/{matrix}/{{z}}/{{x}}/{{y}}.png{key}"
