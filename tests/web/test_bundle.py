"""What browsers are sent: built of these sources, small, whole, and asking nobody else."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import hatch_build
import pytest

from terrazzo import browser

ROOT = Path(__file__).parents[2]
LARGEST = 300_000
"""Bytes of one screen, gzipped."""
NAMES = re.compile(r"\bfrom\s*\"\./([\w.-]+\.js)\"|\bimport\s*\"\./([\w.-]+\.js)\"")
HOSTS = re.compile(r"https?://([\w.-]+)")
CHOSEN = {"tile.openstreetmap.org", "tiles.maps.eox.at"}
"""Basemaps of the web, which are loaded only when somebody chooses one."""
NAMED = {"www.w3.org", "www.opengis.net", "schemas.opengis.net", "github.com", "openlayers.org"}
"""Namespaces, and where libraries say that they come from."""


def gzipped(*names: str) -> int:
    return sum(len(gzip.compress(browser.file(name).read_bytes())) for name in names)


def scripts(name: str) -> set[str]:
    """Return a script and all that it imports."""
    text = browser.file(name).read_text()
    found = {one or other for one, other in NAMES.findall(text)}
    return {name}.union(*(scripts(other) for other in found))


def test_units_of_the_typescript_pass() -> None:
    run = subprocess.run(
        [sys.executable, "hatch_build.py", "test"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert re.search(r"^# pass [1-9]", run.stdout, re.MULTILINE), run.stdout[-2000:]


def test_bundle_is_built_of_these_sources() -> None:
    assert hatch_build.is_current(), "web/ was edited since the bundle was built: make web"


def test_explorer_is_small() -> None:
    size = gzipped(*scripts("explorer.js"), "core.css", "explorer.css")

    assert size <= LARGEST, f"the explorer is {size} bytes gzipped"


def test_widget_is_small_and_one_file() -> None:
    assert scripts("widget.js") == {"widget.js"}
    assert gzipped("widget.js", "widget.css") <= LARGEST


@pytest.mark.parametrize("name", ["explorer.js", "pages.js", "widget.js"])
def test_scripts_name_no_host_that_they_could_load_from(name: str) -> None:
    text = "".join(browser.file(one).read_text() for one in sorted(scripts(name)))

    assert set(HOSTS.findall(text)) <= CHOSEN | NAMED


@pytest.mark.parametrize("name", ["core.css", "explorer.css", "pages.css", "widget.css"])
def test_styles_load_nothing(name: str) -> None:
    assert not re.search(r"url\((?!\"?data:)|@import", browser.file(name).read_text())


@pytest.mark.parametrize("name", ["nothing.js", "../__init__.py", "", "/etc/passwd"])
def test_only_built_files_are_given_out(name: str) -> None:
    with pytest.raises(browser.BundleMissing, match="make web"):
        browser.file(name)


def test_lock_names_no_address() -> None:
    lock = (ROOT / "web" / "package-lock.json").read_text()

    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')
