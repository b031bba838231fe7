"""Entity tags of items and collections, and the conditions that requests make with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from terrazzo.catalog.json_text import json_text
from terrazzo.errors import TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

_DIGITS = 32


class PreconditionFailed(TerrazzoError):
    """What a request wants to change is not, or no longer, as it says."""

    code, status = "PreconditionFailed", 412


def tag_of(text: bytes) -> str:
    """Return the entity tag of a JSON document; the order of its members does not count.

    PostgreSQL keeps another order than was sent.
    """
    same = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.sha256(same).hexdigest()[:_DIGITS]}"'


def collection_tag(document: Mapping[str, Any]) -> str:
    """Return the entity tag of a collection as the catalogue tells it, summaries and all."""
    return tag_of(json_text(document))


@dataclass(frozen=True, slots=True)
class Condition:
    """`If-Match` and `If-None-Match` of a request."""

    match: str
    """Tags of which one must be that of what is there; empty for none."""
    none_match: str
    """Tags that must not be that of what is there; empty for none."""

    @classmethod
    def of(cls, request: Request) -> Condition:
        """Read the headers of a request, which may come several times."""
        match, none_match = (
            ",".join(request.headers.getlist(name)) for name in ("if-match", "if-none-match")
        )
        return cls(match, none_match)

    @property
    def given(self) -> bool:
        """Whether the request makes a condition."""
        return bool(self.match or self.none_match)

    def knows(self, tag: str) -> bool:
        """Tell whether `If-None-Match` names what has a tag."""
        known = _listed(self.none_match)
        return "*" in known or tag in {one.removeprefix("W/") for one in known}

    def check(self, tag: str) -> None:
        """Refuse a change of what has a tag, for a request that means something else.

        Raises:
            PreconditionFailed: the message has the tag that would have been right.
        """
        wanted = _listed(self.match)
        if wanted and "*" not in wanted and tag not in wanted:
            raise PreconditionFailed(
                f"If-Match has {self.match[:80]}, and the tag is {tag} now: somebody has changed "
                "it meanwhile. Get it again, and make the change to what it is now."
            )
        if self.knows(tag):
            raise PreconditionFailed(
                f"If-None-Match has {self.none_match[:80]}, and it is there with the tag {tag}."
            )


def _listed(header: str) -> list[str]:
    return [one for part in header.split(",") if (one := part.strip())]
