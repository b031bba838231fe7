"""Errors as people at a browser read them: what is wrong, and where to go from here."""

from __future__ import annotations

from functools import cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

FILE = Path(__file__).parents[1] / "static" / "error.html"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
"""Of every page: nothing of other hosts, and no scripts or styles in the text."""
_ADVICE = {
    401: "This needs a log-in. Open Collections, log in at the top of that page, and come back.",
    403: "Log in again, or ask those who run this server whether you may see this.",
    404: "There is nothing here, or nothing for everybody. Look for it in the lists above, and log "
    "in there if this server has accounts.",
    405: "This address is for programs.",
    429: "Wait for as long as it says, then load the page again.",
    503: "The server is busy or starting. Load the page again in a moment.",
}
_OTHER = (
    "Change what is wrong and try again. If you followed a link of this server, tell its staff."
)


def to_root(scope: Scope) -> str:
    """Return the way from the page of a request up to the root of the server, with a slash.

    Relative, because a proxy may have put the server under a path.
    """
    sent = scope.get("raw_path") or scope["path"].encode()
    root = str(scope.get("app_root_path", scope.get("root_path", "")))
    depth = sent.partition(b"?")[0].count(b"/") - root.count("/") - 1
    return "../" * depth or "./"


def error_page(scope: Scope, status: int, code: str, message: str, name: str) -> str:
    """Return the page of an error.

    Args:
        scope: of the request.
        status: of HTTP.
        code: of openEO.
        message: what is wrong.
        name: the id of the error, which the log has, too.
    """
    told = {
        "root": to_root(scope),
        "title": f"{status} {HTTPStatus(status).phrase}",
        "code": code,
        "message": message,
        "advice": _ADVICE.get(status, _OTHER),
        "name": name,
    }
    return _page().substitute({key: escape(text) for key, text in told.items()})


@cache
def _page() -> Template:
    return Template(FILE.read_text(encoding="utf-8"))
