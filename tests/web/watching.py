"""What goes wrong on pages: complaints in the console, errors, and requests to other hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, WebError

HOME = "127.0.0.1"


@dataclass(eq=False)
class Watch:
    """Notes of all pages of a test."""

    wrong: list[str] = field(default_factory=list)
    """What a page complained of."""
    strangers: list[str] = field(default_factory=list)
    """What a page asked of another host than those that it was sent to."""
    asked: set[str] = field(default_factory=set)
    """Hosts of all that was asked for."""
    _visited: set[str] = field(default_factory=set)
    _expected: list[str] = field(default_factory=list)
    _allowed: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        """Watch all pages of a browser."""
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("request", self._request)
        context.on("page", self._page)

    def expect(self, pattern: str) -> None:
        """Let the test cause a complaint, and have it fail if there is none such."""
        self._expected.append(pattern)

    def allow(self, pattern: str) -> None:
        """Let a complaint come or not."""
        self._allowed.append(pattern)

    def welcome(self, netloc: str) -> None:
        """Let pages ask another server of this machine, from now on and before."""
        assert netloc.rpartition(":")[0] == HOME
        self._visited.add(netloc)
        self.strangers = [one for one in self.strangers if urlsplit(one).netloc != netloc]

    def check(self) -> None:
        """Fail if anything went wrong that nobody expected, or did not that should have."""
        missing = [one for one in self._expected if not any(re.search(one, w) for w in self.wrong)]
        known = self._expected + self._allowed
        others = [w for w in self.wrong if not any(re.search(one, w) for one in known)]
        told = [*others, *(f"another host was asked: {url}" for url in self.strangers)]
        told += [f"this did not come: {pattern}; but {self.wrong}" for pattern in missing]
        assert not told, "\n".join(told)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            place = message.location
            self.wrong.append(f"{message.text} ({place.get('url')}:{place.get('lineNumber')})")

    def _error(self, error: WebError) -> None:
        self.wrong.append(f"{error.error.name}: {error.error.message}\n{error.error.stack}")

    def _page(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._note(socket.url, visit=False))
        page.on("crash", lambda _: self.wrong.append("the page crashed"))

    def _request(self, request: Request) -> None:
        visit = request.is_navigation_request() and request.frame.parent_frame is None
        self._note(request.url, visit=visit)

    def _note(self, url: str, *, visit: bool) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https", "ws", "wss"}:
            return
        self.asked.add(parts.netloc)
        if visit and parts.hostname == HOME:
            self._visited.add(parts.netloc)
        if parts.netloc not in self._visited:
            self.strangers.append(url)
