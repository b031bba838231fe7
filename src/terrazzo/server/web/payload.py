"""Reads the bodies of requests: JSON objects, hostile until checked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson
from fastapi.concurrency import run_in_threadpool

from terrazzo.server.web.faults import (
    ContentTypeInvalid,
    RequestInvalid,
    RequestTooLarge,
    check_nodes,
)

if TYPE_CHECKING:
    from fastapi import Request

_SMALL = 100_000
"""Bytes that are read at once; longer bodies would keep others waiting meanwhile."""
_JSON = re.compile(r"application/([a-z0-9.-]+\+)?json")
_NODE = re.compile(rb'"process_id"\s*:')
_TO_NINES, _NINES = bytes.maketrans(b"012345678", b"9" * 9), b"9" * 19
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


async def read_object(request: Request, largest: int, *, nodes: int = 0) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    A body must say that it is JSON: a page of another site can then not send one unasked.

    Args:
        request: whose body nobody has read.
        largest: bytes that it may have.
        nodes: of process graphs that it may have in all; 0 is any number.

    Raises:
        ContentTypeInvalid: it is said to be something else than JSON.
        RequestTooLarge: it has more bytes; told before they are all there.
        RequestInvalid: it is no JSON object, or holds what no document of ours can: infinite
            numbers, NUL or halves of characters.
        TooComplex: it has more nodes; told before it is read as JSON, which would take long.
    """
    content = await read_json(request, largest)
    if nodes:
        check_nodes(len(_NODE.findall(content)), nodes)
    if len(content) <= _SMALL:
        return _object(content)
    return await run_in_threadpool(_object, content)


async def read_json(request: Request, largest: int) -> bytes:
    """Return a request's body, which says that it is JSON, unread.

    Raises:
        ContentTypeInvalid: it is said to be something else than JSON.
        RequestTooLarge: it has more bytes; told before they are all there.
    """
    kind = media_type(request)
    if kind != "application/json" and not (
        kind.startswith("application/") and kind[-5:] == "+json"
    ):
        raise ContentTypeInvalid(
            "Send a JSON object as the request's body, with Content-Type: application/json, not "
            f"{kind[:60] or 'nothing'}."
        )
    return await _content(request, largest)


def media_type(request: Request) -> str:
    """Return what a body is said to be, without parameters; empty where it is not said."""
    return str(request.headers.get("content-type", "")).split(";")[0].strip().lower()


async def _content(request: Request, largest: int) -> bytes:
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() and len(announced) < 20 else 0  # noqa: PLR2004 - digits
    parts = []
    if size <= largest:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > largest:
                break
            parts.append(chunk)
    if size > largest:
        raise RequestTooLarge(
            f"The request's body has {size:,} bytes or more, and may have {largest:,}. Keep large "
            "geometries in a file or collection."
        )
    return b"".join(parts)


def parsed(content: bytes) -> Any:
    """Return the JSON value that a body holds, fast; it may be deep.

    Raises:
        RequestInvalid: it is no JSON, or holds what no document of ours can: infinite numbers, NUL
            or halves of characters.
    """
    if _NINES in content.translate(_TO_NINES):
        return _checked(content)  # a whole number beyond 64 bits stays what it is
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return _checked(content)  # which tells what is wrong
    if b"\\u0000" in content:
        _check_nul(content.decode())
    return body


def _object(content: bytes) -> dict[str, Any]:
    body = _checked(content)
    if not isinstance(body, dict):
        raise RequestInvalid("The request's body is JSON, but no object. Send {...}.")
    return body


def _checked(content: bytes) -> Any:
    try:
        body = json.loads(content, parse_constant=_constant)
        # Writing it again finds what reading lets pass, before anybody has to keep or show it.
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
        text.encode()
    except RecursionError:
        raise RequestInvalid("The request's body is nested too deeply.") from None
    except UnicodeError:
        raise RequestInvalid(
            "The request's body is no UTF-8 text, or holds half of a character (a lone surrogate)."
        ) from None
    except ValueError as error:
        raise RequestInvalid(f"The request's body is no JSON: {str(error)[:200]}.") from None
    if "\\u0000" in text:
        _check_nul(text)
    return body


def _check_nul(text: str) -> None:
    if _NUL.search(text):
        raise RequestInvalid("The request's body holds a NUL character in a text. Remove it.")


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number; use null for no-data")
