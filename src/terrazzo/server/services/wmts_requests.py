"""Requests of WMTS clients: names in any case, and errors in their own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import Response
from pydantic import ValidationError

from terrazzo.errors import TerrazzoError
from terrazzo.server.maps.look import Look
from terrazzo.server.maps.picture import Tile, answer
from terrazzo.server.services.wmts_capabilities import (
    PICTURES,
    STYLE,
    Addresses,
    capabilities,
    exception,
)
from terrazzo.server.web.faults import TileOutOfRange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.ledger import Principal
    from terrazzo.server.parts import Parts

XML = "application/xml"
_OPERATIONS = ("GetCapabilities", "GetTile")
_NUMBERS = ("tilematrix", "tilecol", "tilerow")
_LONGEST_NUMBER = 12
_LOOKS = ("min", "max", "colors", "bands", "time")


class WmtsInvalid(TerrazzoError):
    """A WMTS request leaves out what it needs, or says what cannot be."""

    code, status = "InvalidParameterValue", 400

    def __init__(self, code: str, locator: str, message: str) -> None:
        super().__init__(message)
        self.name, self.locator = code, locator


def responded(
    shared: Parts,
    eyes: Principal | None,
    name: str,
    addresses: Addresses,
    given: Mapping[str, str],
    *,
    known: str,
) -> Response:
    """Answer a request by key-value pairs; without a REQUEST it is for the capabilities.

    Args:
        shared: the parts of the server.
        eyes: who looks; None has the service's key.
        name: the service's id.
        addresses: where the service is.
        given: the parameters, their names in lower case.
        known: the header If-None-Match.
    """
    try:
        operation = given.get("request") or "GetCapabilities"
        if operation == "GetCapabilities":
            document = capabilities(shared.maps.opened(eyes, name), addresses)
            return Response(document, media_type=XML, headers={"Cache-Control": "no-cache"})
        if operation != "GetTile":
            raise WmtsInvalid(
                "OperationNotSupported",
                "request",
                f"{operation[:80]!r} is not offered. There are {', '.join(_OPERATIONS)}.",
            )
        seen = shared.maps.seen(eyes, name)
        return answer(shared.maps, shared.kept, seen, _tile(name, given), _look(given), known)
    except TerrazzoError as error:
        code = "TileOutOfRange" if isinstance(error, TileOutOfRange) else "NoApplicableCode"
        told = error if isinstance(error, WmtsInvalid) else WmtsInvalid(code, "", str(error))
        return Response(exception(told.name, str(told), told.locator), error.status, media_type=XML)


def _tile(name: str, given: Mapping[str, str]) -> Tile:
    """Read which tile is wanted.

    Raises:
        WmtsInvalid: that is not said, or there is no such layer, style or format.
    """
    for parameter in ("layer", "format", "tilematrixset", *_NUMBERS):
        if not given.get(parameter):
            raise WmtsInvalid("MissingParameterValue", parameter, f"{parameter} is missing.")
    _check("layer", given["layer"], (name,))
    _check("style", given.get("style") or STYLE, (STYLE,))
    forms = {media_type: form for form, media_type in PICTURES.items()}
    _check("format", given["format"], tuple(forms))
    zoom, column, row = (_number(parameter, given[parameter]) for parameter in _NUMBERS)
    return Tile(given["tilematrixset"], zoom, column, row, forms[given["format"]])


def _look(given: Mapping[str, str]) -> Look:
    try:
        return Look.model_validate({part: given[part] for part in _LOOKS if given.get(part)})
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0])
        raise WmtsInvalid("InvalidParameterValue", place, f"{place}: {first['msg']}") from None


def _check(parameter: str, given: str, there: tuple[str, ...]) -> None:
    if given not in there:
        told = f"There is no {parameter} {given[:80]!r}, only {', '.join(there)}."
        raise WmtsInvalid("InvalidParameterValue", parameter, told)


def _number(parameter: str, given: str) -> int:
    if not given.isascii() or not given.isdecimal() or len(given) > _LONGEST_NUMBER:
        told = f"{parameter} is a whole number, not {given[:40]!r}."
        raise WmtsInvalid("InvalidParameterValue", parameter, told)
    return int(given)
