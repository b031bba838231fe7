"""Makes the README's picture of the map page: the demo, a server, and headless Chromium.

    python scripts/screenshot.py [--home DIR] [--output docs/images/demo.png]

The picture is of the real sample data (contains modified Copernicus Sentinel data 2015-2021).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from terrazzo.cli.showcase import make_everything
from terrazzo.server.running.listen import serving

ROOT = Path(__file__).parents[1]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--virtual-time-budget=20000",
)  # fmt: skip


def take(url: str, output: Path, size: str) -> None:
    """Take a picture of a page.

    Args:
        url: of the page.
        output: the file; its folder is made.
        size: width,height in pixels.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("There is no chromium on PATH. Install it, for example: apt-get install chromium")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(  # noqa: S603 - the browser that was found on PATH
            [
                browser, *FLAGS, f"--user-data-dir={scratch}", f"--window-size={size}",
                f"--screenshot={output.absolute()}", url,
            ],
            check=True, capture_output=True, timeout=180,
        )  # fmt: skip


def main() -> None:
    """Run the demo and take the picture."""
    options = argparse.ArgumentParser(description="Make the README's picture of the map page.")
    options.add_argument("--home", type=Path, help="folder of the demo; a temporary one by default")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "demo.png")
    options.add_argument("--size", default="1200,760", help="width,height")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace, service = make_everything((given.home or Path(scratch) / "demo").absolute())
        with serving(workspace) as url:
            take(f"{url}/#{service}", given.output, given.size)
    sys.stdout.write(f"{given.output}\n")


if __name__ == "__main__":
    main()
