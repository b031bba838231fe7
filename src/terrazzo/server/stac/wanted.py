"""Kinds of values in documents that come over HTTP, refused in words where they are others."""

from __future__ import annotations

from typing import Any

from terrazzo.server.web.faults import RequestInvalid

Json = dict[str, Any]

NUMBERS = {int, float}
"""Types of numbers; truth values are none."""


def require(document: Json, subject: str, members: tuple[str, ...]) -> None:
    """Refuse a document that lacks a member.

    Raises:
        RequestInvalid: says which.
    """
    missing = [member for member in members if member not in document]
    if missing:
        raise RequestInvalid(f"{subject} has no {', '.join(missing)}, which STAC requires.")


def object_of(value: object, where: str) -> Json:
    """Return a value that is an object.

    Raises:
        RequestInvalid: it is none.
    """
    if not isinstance(value, dict):
        raise RequestInvalid(f"{where} is {short(value)}, and not an object.")
    return value


def list_of(document: Json, member: str, subject: str) -> list[Any]:
    """Return a member that is a list; an empty one where it is missing.

    Raises:
        RequestInvalid: it is something else.
    """
    value = document.get(member, [])
    if not isinstance(value, list):
        raise RequestInvalid(f"{subject}: {member} {short(value)} is no list.")
    return value


def check_text(value: object, where: str, *, empty: bool = False) -> str:
    """Return a value that is a text.

    Raises:
        RequestInvalid: it is none, or empty though it must not be.
    """
    if not isinstance(value, str) or not (value or empty):
        raise RequestInvalid(f"{where} {short(value)} is missing or no text.")
    return value


def check_texts(value: object, where: str) -> None:
    """Refuse what is no list of texts.

    Raises:
        RequestInvalid: it is none.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RequestInvalid(f"{where} {short(value)} is no list of texts.")


def are_numbers(value: object, lengths: set[int]) -> bool:
    """Tell whether a value is a list of numbers of one of some lengths."""
    return isinstance(value, list) and len(value) in lengths and {*map(type, value)} <= NUMBERS


def short(value: object) -> str:
    """Return a value for a message."""
    return f"{value!r:.80}"
