"""openeo-test-suite against a running server: its own environment, its folders, its verdicts.

The release on PyPI has neither the processes and their vectors, nor the API's text, nor the
payloads that its general part sends; it looks for them below the folder it is started in, so
they are laid out there from the shared folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.server import oidc_provider, openapi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = "0.2.2"
PLUGIN = Path(__file__).parent / "plugin"
CONSTRAINTS = Path(__file__).parent / "constraints.txt"
"""Versions of what the suite needs, lest a release of somebody's break the tests."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "terrazzo-tests"
"""What tests install from PyPI and npm, kept from run to run."""
LOGIN = {
    "OPENEO_AUTH_METHOD": "client_credentials",
    "OPENEO_AUTH_PROVIDER_ID": "test",
    "OPENEO_AUTH_CLIENT_ID": oidc_provider.SERVICE_CLIENT,
    "OPENEO_AUTH_CLIENT_SECRET": oidc_provider.SERVICE_SECRET,
}
"""How the suite logs in, through the Python client: without a person."""
WEB = dict(os.environ)
"""The environment before the tests close the web to themselves; only installers get it."""


@dataclass(frozen=True)
class Verdict:
    """What a part of the suite said."""

    passed: tuple[str, ...]
    """Tests that passed."""
    failed: Mapping[str, str]
    """Tests that did not, and why."""
    skipped: Mapping[str, str]
    """Tests that were not run, and why."""


@contextmanager
def kept(name: str) -> Iterator[tuple[Path, bool]]:
    """Yield a folder of the cache and whether it is complete; it is once the block ends well.

    Processes take turns.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, (folder / ".complete").exists()
        (folder / ".complete").touch()


def installed() -> Path:
    """Return the Python that has the suite."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    with kept(f"openeo-test-suite-{VERSION}-{python}") as (folder, complete):
        if not complete:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet"]
            what = [f"openeo-test-suite=={VERSION}", "--constraint", CONSTRAINTS]
            subprocess.run([*pip, *what], check=True, env=WEB)
    return folder / "bin" / "python"


def lay_out(folder: Path, shared: Path) -> None:
    """Put what the suite reads where it looks for it."""
    reference = shared / "openeo"
    (folder / "assets" / "openeo-api").mkdir(parents=True)
    (folder / "assets" / "openeo-api" / "openapi.yaml").write_text(openapi.written(reference))
    shutil.copytree(reference / "specs", folder / "assets" / "processes")
    vectors = folder / "assets" / "processes" / "tests"
    vectors.mkdir()
    for path in (reference / "vectors").glob("*.json"):
        shutil.copy(path, vectors / f"{path.stem}.json5")
    payloads = folder / "src" / "openeo_test_suite" / "tests" / "general" / "payload_examples"
    shutil.copytree(reference / "payload_examples", payloads)


def run(part: str, python: Path, folder: Path, url: str, *options: str) -> Verdict:
    """Run a part of the suite.

    Args:
        part: its folder: `general`, `workflows`.
        python: see `installed`.
        folder: see `lay_out`.
        url: of the server, without a slash at its end.
        options: of its command line.
    """
    report = folder / f"{part.replace('/', '-')}.xml"
    packages = next(python.parents[1].glob("lib/python*/site-packages"))
    command: list[object] = [python, "-m", "pytest", packages / "openeo_test_suite/tests" / part]
    command += ["-p", "openeo_test_suite.lib.pytest_plugin", "-p", "surroundings"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder, "-q"]
    command += ["--tb=short", "-U", url, "--junit-xml", report, *options]
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | LOGIN | {"PYTHONPATH": str(PLUGIN), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    (folder / f"{report.stem}.txt").write_text(done.stdout + done.stderr)
    return verdict(report)


def verdict(report: Path) -> Verdict:
    """Read what pytest wrote."""
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - written by pytest
    told = list(_told(cases))
    return Verdict(
        tuple(name for name, kind, _ in told if kind == "passed"),
        {name: why for name, kind, why in told if kind in {"failure", "error"}},
        {name: why for name, kind, why in told if kind == "skipped"},
    )


def _told(cases: Iterator[ET.Element]) -> Iterator[tuple[str, str, str]]:
    for case in cases:
        found = [child for child in case if child.tag in {"failure", "error", "skipped"}]
        why = found[0].get("message", "") + (found[0].text or "") if found else ""
        yield case.get("name", ""), found[0].tag if found else "passed", why
