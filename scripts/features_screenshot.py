"""Makes the picture of a collection of geometries in the documentation: parcels, headless Chromium.

    python -m scripts.features_screenshot PARCELS [--colour ATTRIBUTE] [--output docs/images]

The picture is of parcels in the canton of Zurich, 2020 (ZH_Polygons_2020_ESCH of the sample data).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.screenshot import ROOT, take
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings


def main() -> None:
    """Serve the parcels and take the picture."""
    options = argparse.ArgumentParser(description="Make the picture of a page of geometries.")
    options.add_argument("parcels", type=Path)
    options.add_argument("--colour", default="")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        workspace = Workspace.of(Path(home))
        told = IngestOptions(datetime="2020", title="Parcels")
        ingest([given.parcels], "parcels", workspace, options=told)
        with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
            page = f"{url}/features/collections/parcels#colour={given.colour}"
            take(page, given.output / "features.png", "1200,900")
        sys.stdout.write(f"{given.output / 'features'}.png\n")


if __name__ == "__main__":
    main()
