"""What `POST /services` and `PATCH /services/{id}` make of their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from terrazzo.errors import suggest
from terrazzo.ledger.clock import now
from terrazzo.ledger.processes import processes_of
from terrazzo.ledger.services import Service, new_id, own_service, replace_service
from terrazzo.logs import Level
from terrazzo.server.maps.configuration import SCOPES, Configuration
from terrazzo.server.maps.look import Look, range_found, view_of
from terrazzo.server.maps.types import TYPES
from terrazzo.server.openeo.job_body import BudgetInvalid, PropertyNotEditable
from terrazzo.server.web.faults import RequestInvalid, ServiceUnsupported

if TYPE_CHECKING:
    from terrazzo.ledger import Database, Principal
    from terrazzo.server.maps.maps import Maps

_FIXED = ("id", "url", "attributes", "created", "costs", "usage", "links")


def made(database: Database, maps: Maps, owner: Principal, body: Mapping[str, Any]) -> Service:
    """Return the service that a client describes, once it is known that it can be shown.

    Args:
        database: the ledger, which knows the owner's processes.
        maps: open the service to see.
        owner: whose it will be.
        body: of the request.

    Raises:
        RequestInvalid, ServiceUnsupported, ServiceConfigUnsupported, ServiceConfigInvalid: the
            body is not what the route takes.
        TerrazzoError: the graph cannot be shown as tiles.
    """
    moment = now()
    begun = Service(new_id(), owner.id, _type(body.get("type")), {}, created=moment)
    try:
        return _changed(database, maps, owner, begun, {"process": None, **body})
    except BaseException:
        maps.log.forget(begun.id)
        raise


def change(
    database: Database, maps: Maps, owner: Principal, name: str, body: Mapping[str, Any]
) -> None:
    """Change a service as a client says; of two who do so at once, one comes after the other.

    Args:
        database: the ledger.
        maps: open the service to see.
        owner: whose it is.
        name: its id.
        body: of the request.

    Raises:
        ServiceNotFound: it is not theirs.
        PropertyNotEditable: the body names what only the server sets.
        RequestInvalid, ServiceConfigUnsupported, ServiceConfigInvalid: the body is not what the
            route takes.
        TerrazzoError: the graph cannot be shown as tiles.
    """
    kept = False
    while not kept:
        before = own_service(database, owner, name)
        after = _edited(database, maps, owner, before, body)
        kept = replace_service(database, owner, before, after)


def _edited(
    database: Database, maps: Maps, owner: Principal, before: Service, body: Mapping[str, Any]
) -> Service:
    if "type" in body and _type(body["type"]) != before.type:
        raise PropertyNotEditable(
            f"The type of a service stays what it is, {before.type}. Make another service with "
            "POST /services."
        )
    for name in _FIXED:
        if name in body:
            raise PropertyNotEditable(
                f"{name!r} of a service is set by the server. What can be changed is title, "
                "description, process, enabled, configuration and log_level."
            )
    return _changed(database, maps, owner, before, body)


def _changed(
    database: Database, maps: Maps, owner: Principal, before: Service, body: Mapping[str, Any]
) -> Service:
    after = _named(before, body)
    if body.get("configuration") is not None:
        after = _configured(after, body["configuration"])
    if "process" in body:
        process = body["process"] if isinstance(body["process"], Mapping) else {}
        called = processes_of(database, owner, {"process": process})
        after = replace(after, process=process, processes=called)
    if body.get("configuration") is not None or "process" in body:
        after = _ranged(maps, after, owner)
    return after


def _named(before: Service, body: Mapping[str, Any]) -> Service:
    """Change what does not change the tiles."""
    _check_costs(body)
    enabled = body.get("enabled", before.enabled)
    if not isinstance(enabled, bool):
        raise RequestInvalid("enabled is true or false.")
    options = dict(before.options)
    if body.get("log_level") is not None:
        options["log_level"] = _level(body["log_level"])
    return replace(
        before,
        title=_text("title", body.get("title", before.title), 200),
        description=_text("description", body.get("description", before.description), 20_000),
        enabled=enabled,
        options=options,
        updated=now(),
    )


def _configured(service: Service, given: object) -> Service:
    """Change some settings; those that are null are taken back."""
    if not isinstance(given, Mapping):
        raise RequestInvalid("configuration is an object of settings.")
    joined = {**service.configuration, **given}
    kept = {name: value for name, value in joined.items() if value is not None}
    checked = Configuration.of(kept)
    return replace(service, configuration=kept, visibility=SCOPES[checked.scope].value)


def _ranged(maps: Maps, service: Service, owner: Principal) -> Service:
    """Open a service, and find the range of its colours where it is not configured."""
    seen = maps.as_owner(service, owner)
    opened = maps.open(seen)
    view_of(opened, Look.model_validate({}))
    given = seen.configuration
    options = {name: value for name, value in service.options.items() if name not in {"min", "max"}}
    if given.low is None or given.high is None:
        low, high = range_found(opened)
        low = low if given.low is None else given.low
        high = high if given.high is None else given.high
        if low >= high:
            low, high = (low, low + 1) if given.high is None else (high - 1, high)
        options |= {"min": low, "max": high}
    return replace(service, options=options)


def _check_costs(body: Mapping[str, Any]) -> None:
    """Check what is said of money, which has no effect: services cost nothing."""
    plan, budget = body.get("plan"), body.get("budget")
    if plan is not None and not isinstance(plan, str):
        raise RequestInvalid("plan is the name of a billing plan, a text. There are none here.")
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if budget is not None and not (number and budget >= 0):
        raise BudgetInvalid(
            "budget is the largest sum that the service may cost, 0 or more; null is no limit. "
            "Services cost nothing here, so that it limits nothing."
        )


def _type(given: object) -> str:
    known = {name.lower(): name for name in TYPES}
    if not isinstance(given, str) or given.lower() not in known:
        shown = repr(given)[:80]
        near = suggest(given, TYPES) if isinstance(given, str) and len(given) < len(shown) else ""
        raise ServiceUnsupported(
            f"Service type {shown} is not supported.{near} There are {', '.join(TYPES)}."
        )
    return known[given.lower()]


def _text(name: str, given: object, longest: int) -> str | None:
    if given is not None and (not isinstance(given, str) or len(given) > longest):
        raise RequestInvalid(f"{name} is a text of at most {longest:,} letters.")
    return given


def _level(given: object) -> str:
    if given not in tuple(Level):
        raise RequestInvalid(f"log_level is one of {', '.join(Level)}.")
    return str(given)
