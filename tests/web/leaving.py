"""Pages of a server that ends before they do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from terrazzo.server.running.listen import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from terrazzo.drivers.job import Workspace
    from terrazzo.server.settings import ServerSettings


@contextmanager
def visited(page: Page, workspace: Workspace, settings: ServerSettings) -> Iterator[str]:
    """Serve a home to a test's pages; yields the address.

    The pages are closed before the server ends: a browser asks for a picture of a tab when it
    likes, and would complain of a server that is no more.
    """
    with serving(workspace, settings=settings) as url:
        yield url
        leave(page)


def leave(page: Page) -> None:
    """Close all pages of a browser, for its servers are about to end."""
    for each in page.context.pages:
        each.close()
