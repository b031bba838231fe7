"""Makes the pictures of the catalogue's pages in the documentation: the demo and headless Chromium.

    python -m scripts.catalogue_screenshots [--home DIR] [--output docs/images]

The pictures are of the real sample data (contains modified Copernicus Sentinel data 2015-2021).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.screenshot import ROOT, take
from terrazzo.cli.showcase import COLLECTION, take_in
from terrazzo.drivers.job import Workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

ITEM = "sentinel2_cube_subset_romania_10m_20190701"
PAGES = {
    "collections": ("collections", "1200,520"),
    "collection": (f"collections/{COLLECTION}", "1200,1000"),
    "items": (
        f"collections/{COLLECTION}/items?datetime=2018-01-01T00:00:00Z/2018-12-31T23:59:59Z",
        "1200,900",
    ),
    "item": (f"collections/{COLLECTION}/items/{ITEM}", "1200,900"),
}
"""The address of each page, and how much of it is shown."""


def main() -> None:
    """Serve the sample's collection and take the pictures."""
    options = argparse.ArgumentParser(description="Make the pictures of the catalogue's pages.")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    options.add_argument("--home", type=Path, help="folder of a demo that was made before")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = given.home or Path(scratch)
        workspace = Workspace.of(home)
        if not workspace.catalog_path.exists():
            take_in(home, [])
        with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
            for name, (path, size) in PAGES.items():
                take(f"{url}/{path}", given.output / f"{name}.png", size)
                sys.stdout.write(f"{given.output / name}.png\n")


if __name__ == "__main__":
    main()
