"""The map page in a real browser: a service is drawn, in colours, where it belongs."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from tests.server.small import graph, made_service, make_home

from terrazzo.server.app import create_app
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--virtual-time-budget=15000",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a home whose service is wholly green, and blue-less."""
    home = tmp_path_factory.mktemp("page")
    workspace = make_home(home)
    shown = {"min": -2.0, "max": 0.0, "colors": "rdylgn"}
    with TestClient(create_app(workspace)) as client:
        made_service(client, graph(), title="NDVI of the small collection", configuration=shown)
    return home


def shot(
    home: Path, name: str, width: int, height: int, *flags: str, mark: str = "", alone: bool = True
) -> np.ndarray:
    """Return (y, x, 3) of the page, and keep the picture in the home folder.

    Args:
        home: the home folder.
        name: of the picture.
        width: of the window.
        height: of the window.
        flags: of the browser.
        mark: what follows the page's address.
        alone: whether the server has no accounts.
    """
    from terrazzo.drivers.job import Workspace  # noqa: PLC0415 - loads the engine

    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium on PATH to look at the map page")
        pytest.skip("needs chromium on PATH")
    path = home / f"{name}.png"
    with serving(Workspace.of(home), settings=ServerSettings(open=alone)) as url:
        subprocess.run(
            [
                BROWSER, *FLAGS, *flags, f"--user-data-dir={home / 'browser'}",
                f"--window-size={width},{height}", f"--screenshot={path}", f"{url}/{mark}",
            ],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def greens(pixels: np.ndarray) -> np.ndarray:
    """Return where the deep green of the service is (the page's own greens are elsewhere)."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return (green > red + 60) & (green > blue + 30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "height", "flags"),
    [
        ("wide", 1280, 800, ()),
        ("phone", 500, 850, ()),
        ("dark", 1280, 800, ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")),
    ],
)
def test_service_is_drawn_in_its_colours_and_fits(
    page: Path, name: str, width: int, height: int, flags: tuple[str, ...]
) -> None:
    pixels = shot(page, name, width, height, *flags)

    drawn = greens(pixels)
    map_part = drawn[:, 300:] if width > 560 else drawn[:520]
    rows, cols = np.nonzero(map_part)
    assert map_part.mean() > 0.15
    # A square of 3 km, but for the corner without data, stays square on the map.
    assert np.ptp(rows) == pytest.approx(np.ptp(cols), rel=0.08)
    # Nothing of it touches the border of what is seen.
    assert rows.min() > 5
    assert cols.min() > 5
    assert cols.max() < map_part.shape[1] - 5


@pytest.mark.slow
def test_a_private_service_is_drawn_for_whoever_has_its_address(page: Path) -> None:
    from terrazzo.drivers.job import Workspace  # noqa: PLC0415 - loads the engine

    with TestClient(create_app(Workspace.of(page))) as client:
        name = client.get("/maps").json()["maps"][0]["id"]
        links = client.get(f"/services/{name}").json()["links"]
    (address,) = [link["href"] for link in links if link["rel"] == "alternate"]
    mark = address.partition("/#")[2]

    with_key = shot(page, "key", 900, 600, mark=f"#{mark}", alone=False)
    without = shot(page, "no-key", 900, 600, mark=f"#{mark.partition('?')[0]}", alone=False)

    assert greens(with_key)[:, 300:].mean() > 0.15
    assert not greens(without)[:, 300:].any()


@pytest.mark.slow
def test_page_without_services_says_what_to_do(tmp_path: Path) -> None:
    pixels = shot(tmp_path, "empty", 900, 600)

    assert not greens(pixels)[:, 300:].any()
    assert pixels[:300, :290].std() > 10
