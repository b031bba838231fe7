"""What a layer's address means: a graph by its digest, or a service by its id."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.screen.about import about
from terrazzo.drivers.screen.look import Look, LookRelative
from terrazzo.errors import (
    ArgumentInvalid,
    BandNotFound,
    LabelNotAvailable,
    NoDataAvailable,
    SpatialExtentEmpty,
    TerrazzoError,
)
from terrazzo.server.maps.about import title_of
from terrazzo.server.maps.patient import AnswerTooLong
from terrazzo.server.services.keys import viewer
from terrazzo.server.web.faults import RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.ledger import Principal
    from terrazzo.server.maps.maps import Maps, OpenMap, Seen
    from terrazzo.server.parts import Parts

_SERVICE: Final = re.compile(r"[0-9a-f]{16}")
_ASKED_WRONG: Final = (
    ArgumentInvalid, BandNotFound, LabelNotAvailable, LookRelative, NoDataAvailable,
    SpatialExtentEmpty, AnswerTooLong,
)  # fmt: skip
"""Errors of whoever asks, which they are told also where the service is somebody else's."""


def is_service(name: str) -> bool:
    """Tell whether a name is that of a service, not the digest of a graph."""
    return _SERVICE.fullmatch(name) is not None


@contextmanager
def looked_at(shared: Parts, who: Principal, name: str, key: str) -> Iterator[Layer]:
    """Yield a layer, as whoever asks may see it; in the `with` block it is asked.

    A service is computed with the rights of its owner, whose affair it is why it fails.

    Args:
        shared: the parts of the server.
        who: asks.
        name: digest of a graph that was opened, or id of a service.
        key: of the service, if somebody has one.

    Raises:
        LayerNotFound, ServiceNotFound, ServiceDisabled, ServiceUnusable: there is none for them.
    """
    if not is_service(name):
        yield shared.layers.opened(who, name)
        return
    seen = _seen(shared, who, name, key)
    with shared.maps.telling(seen):
        layer = shared.maps.open(seen).layer
    with _telling(shared.maps, seen):
        yield layer


def told_of(shared: Parts, who: Principal, name: str, key: str) -> dict[str, Any]:
    """Return all that a screen needs to know of a layer; see `looked_at`.

    Of a service it is how it is meant to be shown, too; its graph is told to its owner, and that of
    a layer to whoever opened it.
    """
    if not is_service(name):
        told = about(shared.layers.opened(who, name))
        return told | {"process": told["process"] or None}
    seen = _seen(shared, who, name, key)
    with shared.maps.telling(seen):
        opened = shared.maps.open(seen)
        look = _look(opened)
        told = about(opened.layer, Look.of(look))
    hidden = {} if seen.own else {"process": None}
    names = {"id": seen.service.id, "title": title_of(seen.service)}
    return told | names | hidden | {"look": look}


def service_of(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return id and key of the service that a request's body names; None if it names none.

    Raises:
        RequestInvalid: it names something else.
    """
    given = body.get("service")
    if given is None:
        return None
    name = given.get("id") if isinstance(given, dict) else None
    key = (given.get("key") or "") if isinstance(given, dict) else ""
    if not isinstance(name, str) or not is_service(name) or not isinstance(key, str):
        raise RequestInvalid('`service` is {"id": ...} and, if you have one, its "key".')
    return name, key


def _seen(shared: Parts, who: Principal, name: str, key: str) -> Seen:
    return shared.maps.seen(viewer(shared.signer, who, name, key), name)


@contextmanager
def _telling(maps: Maps, seen: Seen) -> Iterator[None]:
    wrong: TerrazzoError | None = None
    with maps.telling(seen):
        try:
            yield
        except _ASKED_WRONG as error:
            if error.of_pixels and not isinstance(error, AnswerTooLong):
                raise
            wrong = error
    if wrong is not None:
        raise wrong


def _look(opened: OpenMap) -> dict[str, Any]:
    """Return how a service is configured to be shown, as a look."""
    given = opened.configuration
    look: dict[str, Any] = {}
    if opened.low is not None and opened.high is not None and opened.low < opened.high:
        look["stretch"] = {"kind": "range", "low": opened.low, "high": opened.high}
    chosen = {"colors": given.colors, "bands": list(given.bands), "time": given.time}
    return look | {name: value for name, value in chosen.items() if value}
