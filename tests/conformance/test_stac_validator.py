"""stac-api-validator against a running server: it finds no errors, whatever keeps the catalogue."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.catalog.conftest import KINDS
from tests.server.stac_items import NAME, PLACE, item, items
from tests.server.stac_served import workspace_of

from terrazzo.catalog import make_collection
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

CLASSES = ("core", "children", "collections", "features", "item-search", "filter")
CHANGING, CHANGED = "changing", "S2A_47XNF_20230423_0_L2A"
"""A collection whose items are changed, and the one that the validator makes and changes."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    with workspace_of(request.param, home, request) as workspace:
        with workspace.catalog(create=True) as catalog:
            catalog.put_collection(collection())
            catalog.put_items(items())
            # The validator begins by deleting an item, and wants it to be there.
            catalog.put_collection(make_collection(CHANGING, title="Changing"))
            catalog.put_items([item(0, CHANGING) | {"id": CHANGED}])
        with serving(workspace, settings=ServerSettings(job_workers=0)) as url:
            yield url


def collection() -> dict[str, Any]:
    return make_collection(NAME, title="Scenes", description="Scenes of a test.", license="CC0-1.0")


def said(url: str, classes: tuple[str, ...], *flags: str) -> str:
    """Return what the validator writes."""
    command = [sys.executable, "-m", "tests.conformance.stac_offline", "--root-url", f"{url}/"]
    command += [f"--conformance={name}" for name in classes]
    command += ["--collection", NAME, "--geometry", json.dumps(PLACE), "--log-level", "WARNING"]
    command += flags
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    return done.stdout + done.stderr


def test_it_finds_no_errors(url: str) -> None:
    told = said(url, CLASSES, "--validate-pagination")

    assert "Errors: none" in told, told
    assert "MISSING" not in told, told


def test_it_finds_no_errors_in_transactions(url: str) -> None:
    told = said(url, ("transaction",), "--transaction-collection", CHANGING)

    assert "Errors: none" in told, told
