"""Makes the picture of the page of processes in the documentation, with headless Chromium.

python -m scripts.processes_screenshot [--output docs/images/processes.png]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.screenshot import ROOT, take
from terrazzo.drivers.job import Workspace
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings


def main() -> None:
    """Serve an empty home folder and take the picture."""
    options = argparse.ArgumentParser(description="Make the picture of the page of processes.")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "processes.png")
    options.add_argument("--page", default="processes#spatial")
    options.add_argument("--size", default="1200,700", help="width,height")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace.of(Path(scratch) / "home")
        with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
            take(f"{url}/{given.page}", given.output, given.size)
    sys.stdout.write(f"{given.output}\n")


if __name__ == "__main__":
    main()
