"""Draws docs/images/chips.png and chips-page.png: what docs/chips.md makes.

    python -m scripts.chips_pictures

The code of the page is run; the second picture is of its HTML, in headless Chromium (real sample
data; contains modified Copernicus Sentinel data 2020).
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from scripts.pages import DOCS
from scripts.screens import take
from terrazzo.drivers.extraction.chips import Look
from terrazzo.drivers.extraction.sheets import Wanted, calendar_sheet
from terrazzo.drivers.tile import View
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from terrazzo.drivers.extraction.calendar import Sheet

PAGE = DOCS / "chips.md"
PICTURE, SCREEN = DOCS / "images" / "chips.png", DOCS / "images" / "chips-page.png"
COLOURS = 128


def computed() -> tuple[Sheet, Sheet]:
    """Run the code of the page; return its sheet, and another one of the NDVI itself."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for block in blocks:
            exec(compile(block, PAGE.name, "exec"), names)  # noqa: S102 - our own page
        look = Look(View(Style(((0.2, 0.9),), "rdylgn")))
        wanted = Wanted(look, by="kind", most=20)
        index = calendar_sheet(names["workspace"], names["table"], "F7", wanted)
    return names["sheet"], index


def main() -> None:
    """Draw both pictures."""
    colours, index = computed()
    drawn = Image.open(io.BytesIO(colours.png())).quantize(COLOURS)
    drawn.save(PICTURE, optimize=True)
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "sheet.html"
        page.write_text(index.html())
        drawing = index.drawing()
        take(page.as_uri(), SCREEN, (drawing.width + 16, drawing.height + 16))
    for path in (PICTURE, SCREEN):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
