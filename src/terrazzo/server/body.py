"""Reads the body of a stored graph: hostile until checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.server.faults import ContentTypeInvalid, RequestInvalid, RequestTooLarge
from terrazzo.server.look import check_style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

LARGEST = 20_000_000
LONGEST_TITLE = 200
MEMBERS = {"process_graph", "process", "parameters", "title", "style", "id", "description"}


@dataclass(frozen=True, slots=True)
class GivenLayer:
    """What a client wants to be stored."""

    document: Mapping[str, Any]
    """The process graph, `{process_graph}` or `{process}`."""
    title: str
    """Its title; empty for none."""
    style: Mapping[str, Any]
    """Its style, checked."""


async def read_layer(request: Request) -> GivenLayer:
    """Read and check the body of `POST /layers`.

    A body must say that it is JSON: a page of another site can then not send one unasked.

    Raises:
        ContentTypeInvalid, RequestTooLarge, RequestInvalid: it is not what the route takes.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise ContentTypeInvalid("Send the graph as JSON with Content-Type: application/json.")
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST:
            raise RequestTooLarge(
                f"The body has more than {LARGEST // 1_000_000} MB. Keep large geometries in a "
                "file or collection."
            )
        parts.append(chunk)
    try:
        body = json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestInvalid(f"The body is no JSON: {reason}.") from None
    if not isinstance(body, dict) or not {"process_graph", "process"} & body.keys():
        raise RequestInvalid(
            'The body is {"process_graph": {...}, "title": "...", "style": {"min": 0, "max": 1}}; '
            "title and style may be left out."
        )
    unknown = sorted(body.keys() - MEMBERS)
    if unknown:
        raise RequestInvalid(
            f"The body has unknown members: {', '.join(unknown)[:200]}. Known are "
            f"{', '.join(sorted(MEMBERS))}."
        )
    title = body.pop("title", None) or ""
    if not isinstance(title, str) or len(title) > LONGEST_TITLE:
        raise RequestInvalid(f"title is a text of at most {LONGEST_TITLE} letters.")
    return GivenLayer(body, title, check_style(body.pop("style", None) or {}))
