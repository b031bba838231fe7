"""The answer of `GET .../logs`, of jobs and of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from pydantic import BeforeValidator

from terrazzo.ledger import entries
from terrazzo.logs import Level
from terrazzo.server.web.links import link

if TYPE_CHECKING:
    from terrazzo.ledger import Database
    from terrazzo.server.web.paging import Page

Least = Annotated[Level, BeforeValidator(lambda text: text or Level.DEBUG)]
"""The parameter `level`: all entries where it has no value, as openEO has it."""


def log_page(
    database: Database,
    place: tuple[str, str],
    here: str,
    page: Page,
    *,
    offset: str,
    level: Level,
    kept: Level,
) -> dict[str, Any]:
    """Return a page of a log.

    Args:
        database: the ledger.
        place: `job` or `service`, and its id.
        here: address of the log.
        page: how many entries are wanted.
        offset: id of the last entry that the client has; empty for none.
        level: the least serious entries that are wanted.
        kept: the least serious entries that are kept.

    Raises:
        LogOffsetInvalid: `offset` is no id of an entry.
    """
    more = None if page.size is None else page.size + 1
    found = entries.listed(database, *place, after=offset, level=level, limit=more)
    links = [link("self", here)]
    if page.size is not None and len(found) > page.size:
        found = found[: page.size]
        query = {"limit": page.size, "offset": found[-1]["id"], "level": level.value}
        links.append(link("next", f"{here}?{urlencode(query)}"))
    effective = min((level, kept), key=entries.LEVELS.index)
    return {"level": effective, "logs": found, "links": links}
