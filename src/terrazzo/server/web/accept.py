"""Whether somebody at a browser asks, or a program: one address has a page and a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import Request, Response

PAGE = "text/html"


def wants_page(request: Request) -> bool:
    """Tell whether a page is asked for: `text/html` stands before JSON in `Accept`.

    Browsers put it first. Programs that name nothing, anything, or JSON get JSON.
    """
    return prefers_page(request.headers.get("accept", ""))


def prefers_page(accept: str) -> bool:
    """Tell it of the header itself."""
    if PAGE not in accept.lower():
        return False
    asked = []
    for place, entry in enumerate(accept.split(",")):
        name, *options = (part.strip().lower() for part in entry.split(";"))
        asked.append((-_quality(options), place, name))
    known = [name for quality, _, name in sorted(asked) if quality < 0 and _is_known(name)]
    return known[:1] == [PAGE]


def varies(response: Response) -> None:
    """Tell caches that another `Accept` gets another answer at the same address."""
    named = [response.headers["vary"]] if "vary" in response.headers else []
    if "accept" not in {name.strip().lower() for text in named for name in text.split(",")}:
        response.headers["Vary"] = ", ".join([*named, "Accept"])


def _is_known(name: str) -> bool:
    return name in {PAGE, "*/*", "application/*"} or name.endswith("json")


def _quality(options: list[str]) -> float:
    """Return the weight of an entry of `Accept`, 1 where it says none or nonsense."""
    for option in options:
        if option.startswith("q="):
            try:
                return min(max(float(option[2:]), 0.0), 1.0)
            except ValueError:
                return 1.0
    return 1.0


def takes_gzip(request: Request) -> bool:
    """Tell whether an answer may be gzipped."""
    for entry in request.headers.get("accept-encoding", "").split(","):
        name, *options = (part.strip().lower() for part in entry.split(";"))
        if name == "gzip":
            return "q=0" not in options
    return False
