"""Links between pages lead somewhere, and what a page shows of an output is still so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.docs.pages import PAGES, ROOT, blocks, prose, short

from terrazzo.graph import parse
from terrazzo.processes import SPECS

if TYPE_CHECKING:
    from pathlib import Path


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)

    assert broken == []


def test_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / name).resolve()
        for name in re.findall(r"\]\(([\w./-]+)\)", index.read_text())
    }
    pages = {page for page in (ROOT / "docs").glob("*.md") if page != index}

    assert pages - linked == set()


def test_first_steps_show_the_digest_of_their_graph() -> None:
    page = ROOT / "docs" / "first-steps.md"
    (document,) = blocks(page, "json")

    digest = parse(document, specs=SPECS).digest

    assert f"graph   {digest[:16]}" in page.read_text()
