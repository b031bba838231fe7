"""Maps in JupyterLab: linked, in the projection of the data, exported, filmed, dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image
from playwright.sync_api import expect
from scripts.notebooks import jupyter_lab
from tests.web.leaving import leave
from tests.web.looking import barriers, cut_off, pixels
from tests.web.test_notebooks import START_MS, notebook_of, opened_notebook, run_cell

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page
    from tests.web.conftest import Keep

pytestmark = pytest.mark.slow

CELL = """\
import ipywidgets, numpy as np, xarray as xr, terrazzo
y, x = 2_500_000.0 - 10 * np.arange(40), 5_000_000.0 + 10 * np.arange(60)
dates = np.array(["2020-05-01", "2020-06-01", "2020-07-01"], "datetime64[ns]")
values = np.broadcast_to(np.float32([1, 2, 3])[:, None, None], (3, 40, 60)).copy()
array = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": dates, "y": y, "x": x})
maps = []
for name, color in (("Red", "#ff0000"), ("Blue", "#0000ff")):
    m = terrazzo.Map(crs="EPSG:3035", height=400, basemap="none")
    m.add(array, name, stretch=(0, 3), colors=["#000000", color], crs="EPSG:3035")
    maps.append(m)
maps[0].link(maps[1])
ipywidgets.VBox(maps)"""
RED, BLUE, DARK = (255, 0, 0), (0, 0, 255), 100


def mask_of(seen: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.asarray((np.abs(seen - np.array(colour)) <= 2).all(axis=-1))


def still(widget: Locator) -> np.ndarray:
    """Return the pixels of a map, once all that it shows has come."""
    expect(widget.locator(".tz-map").first).to_have_attribute(
        "aria-busy", "false", timeout=START_MS
    )
    return pixels(widget.get_by_role("application"))


def panel(widget: Locator, name: str) -> Locator:
    """Open a panel of a map."""
    button = widget.get_by_role("navigation", name="Panels").get_by_role("button", name=name)
    if button.get_attribute("aria-expanded") != "true":
        button.click()
    return widget.get_by_role("region", name=name).first


def test_linked_maps_in_the_projection_of_the_data_are_looked_at_exported_and_filmed(
    page: Page, keep: Keep, tmp_path: Path
) -> None:
    page.set_default_timeout(START_MS)
    page.set_viewport_size({"width": 1280, "height": 1000})
    (tmp_path / "map.ipynb").write_text(notebook_of(CELL))

    with jupyter_lab(tmp_path, {}) as url:
        opened_notebook(page, url)
        run_cell(page, 0)
        red, blue = (page.locator(".tz-widget").nth(n) for n in range(2))
        _native(still(red), RED)
        _native(still(blue), BLUE)
        keep("linked")
        _linked(red, blue)
        _exported(page, red, tmp_path, keep)
        _filmed(page, red, tmp_path, keep)
        _dark(page, red, keep)
        leave(page)


def _native(seen: np.ndarray, colour: tuple[int, int, int]) -> None:
    """The pixels are upright: what is coloured is a whole rectangle, of the shape of the data."""
    rows, cols = np.nonzero(mask_of(seen, colour))
    height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
    assert len(rows) == height * width > 5000
    assert width / height == pytest.approx(60 / 40, rel=0.02)


def _linked(red: Locator, blue: Locator) -> None:
    before = red.locator(".tz-where").inner_text()
    red.get_by_role("application").focus()
    red.get_by_role("application").press("ArrowRight")
    expect(red.locator(".tz-where")).not_to_have_text(before)
    seen = mask_of(still(red), RED)
    expect(blue.locator(".tz-where")).to_have_text(red.locator(".tz-where").inner_text())
    other = mask_of(still(blue), BLUE)

    assert np.array_equal(np.flatnonzero(seen.any(axis=0)), np.flatnonzero(other.any(axis=0)))
    red.get_by_role("button", name="Show all layers").click()
    still(red)


def _exported(page: Page, red: Locator, folder: Path, keep: Keep) -> None:
    saving = panel(red, "Save and export")
    with page.expect_download() as picture:
        saving.get_by_role("button", name="Save as PNG").click()
    picture.value.save_as(folder / "view.png")
    saving.get_by_role("button", name="Export at native resolution").click()
    dialog = page.get_by_role("dialog", name="Export the view")
    expect(dialog).to_contain_text("EPSG:3035")
    dialog.get_by_role("combobox", name="Date").select_option("2020-06-01T00:00:00Z")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog).to_contain_text("Done")
    keep("export")
    with page.expect_download() as numbers:
        dialog.get_by_role("button", name="Download").click()
    numbers.value.save_as(folder / "view.tif")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    with Image.open(folder / "view.png") as image:
        assert mask_of(np.asarray(image.convert("RGB")).astype(int), RED).sum() > 5000
    with rasterio.open(folder / "view.tif") as file:
        band = file.read(1, masked=True)
        assert (file.crs.to_epsg(), file.res) == (3035, (10.0, 10.0))
    assert band.count() == 40 * 60
    assert set(band.compressed().tolist()) == {2.0}


def _filmed(page: Page, red: Locator, folder: Path, keep: Keep) -> None:
    panel(red, "Save and export").get_by_role("button", name="Time-lapse").click()
    dialog = page.get_by_role("dialog", name="Time-lapse of the view")
    dialog.get_by_role("button", name="Make the film").click()
    expect(dialog.get_by_role("img", name="Time-lapse of Red")).to_be_visible()
    keep("film")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    download.value.save_as(folder / "view.gif")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    with Image.open(folder / "view.gif") as film:
        assert film.n_frames == 3
        brightest = []
        for number in range(3):
            film.seek(number)
            seen = np.asarray(film.convert("RGB")).astype(int)
            brightest.append(int(seen[seen.shape[0] // 2, seen.shape[1] // 2, 0]))
    assert brightest[0] < brightest[1] < brightest[2]


def _dark(page: Page, red: Locator, keep: Keep) -> None:
    layers = panel(red, "Layers")
    expect(layers.get_by_text("Red").first).to_be_visible()
    bright = pixels(layers).mean()
    page.get_by_role("menuitem", name="Settings").click()
    for name in ("Theme", "JupyterLab Dark"):
        item = page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True)
        item.hover()
    item.click()
    expect(red).to_have_attribute("data-theme", "dark")
    still(red)
    keep("dark")

    assert pixels(layers).mean() < DARK < bright
    assert barriers(page, below=".tz-widget") == []
    assert [one for one in cut_off(page) if "tz-" in one] == []
