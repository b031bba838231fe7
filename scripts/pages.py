"""Where the reference pages lie, and how they are written."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def write(name: str, text: str) -> None:
    """Write a page of the documentation and say so."""
    path = DOCS / name
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{path}: {len(text.splitlines())} lines\n")


def note(script: str) -> str:
    """Return the comment at the top of a page that a script writes."""
    return f"<!-- Written by `python -m scripts.{script}`: change the code, not this page. -->"
