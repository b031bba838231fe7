"""Maps in JupyterLab and on a page of Voila, driven as a person would."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nbformat
import pytest
import requests
from nbclient import NotebookClient
from playwright.sync_api import expect
from scripts.notebooks import ENDING_SECONDS, FOLDER, dashboard, jupyter_lab, lend
from tests.web.leaving import leave
from tests.web.looking import pixels

from terrazzo.cli.parcels import write_parcels
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.notebook.map_scratch import load

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page, Request
    from tests.web.conftest import Keep
    from tests.web.watching import Watch

NOTEBOOK = {
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
    "cells": [
        {
            "cell_type": "code",
            "id": "map",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": """\
import numpy as np, xarray as xr, terrazzo
y, x = 5e6 - 10 * np.arange(60), 5e5 + 10 * np.arange(80)
array = xr.DataArray(np.full((60, 80), 7.0), dims=("y", "x"), coords={"y": y, "x": x})
m = terrazzo.Map(height=420, basemap="none")
m.add(array, "Sevens", stretch=(0, 7), colors=["#000000", "#ff0000"], crs="EPSG:32633")
m""",
        },
        {
            "cell_type": "code",
            "id": "found",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": "print('found', m.inspected['value'].tolist(), m.bounds is not None)",
        },
    ],
}
START_MS = 180_000
NAMES = ("first-map", "own-code-on-tiles", "parcel-profile")
MOST_LINES = 30
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def home_of_demo(demo_home: Path, tmp_path: Path) -> Path:
    """The home of somebody who has run `terrazzo demo`."""
    lend(demo_home, tmp_path)
    parcels = demo_home / "parcels.gpkg"
    if not parcels.exists():
        graph = {"process_graph": load("sentinel-2-romania")}
        levels = TileLayer(Job.of(graph).infer(Workspace.of(demo_home))).matrix(NATIVE)
        write_parcels(parcels, levels.grid(levels.base_zoom))
    return tmp_path


@pytest.fixture
def patient(page: Page) -> Page:
    """A page that waits for servers and kernels to start, on a machine that does much else."""
    page.set_default_timeout(START_MS)
    return page


def settled(page: Page) -> Locator:
    """Return the map, once all that it shows has come."""
    shown = page.get_by_role("application")
    expect(shown).to_be_visible(timeout=START_MS)
    quiet = page.locator("[aria-busy=false]").get_by_role("application")
    expect(quiet).to_be_visible(timeout=START_MS)
    return shown


def test_these_are_the_notebooks():
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_short_and_has_no_outputs(name: str):
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]

    lines = [line for cell in code for line in cell.source.splitlines() if line.strip()]
    assert 0 < len(lines) < MOST_LINES
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.filterwarnings("default")  # of Jupyter's own libraries
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_shows_a_map(
    name: str, home_of_demo: Path, monkeypatch: pytest.MonkeyPatch
):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    monkeypatch.setenv("HOME", str(home_of_demo))
    client = NotebookClient(
        notebook, timeout=START_MS // 1000, resources={"metadata": {"path": home_of_demo}}
    )

    with ThreadPoolExecutor(1) as elsewhere:  # in this thread Playwright has a loop
        elsewhere.submit(asyncio.run, client.async_execute()).result()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    widgets = [one for one in outputs if WIDGET in one.get("data", {})]
    assert len(widgets) == 1
    assert not [one for one in outputs if one.output_type in {"error", "stream"}]
    if name == "parcel-profile":
        text = outputs[-1]["data"]["text/plain"]
        values = [float(number) for number in re.findall(r"\d+ \S+ +(-?\d\.\d+)", text)]
        assert values, text
        assert all(abs(value) <= 1 for value in values)


def test_a_notebook_is_a_page_without_code_that_asks_no_other_host(
    patient: Page, keep: Keep, home_of_demo: Path
):
    page = patient

    with dashboard(FOLDER / "first-map.ipynb", home_of_demo) as url:
        page.goto(url)
        shown = settled(page)
        expect(page.get_by_text("NDVI: computed at")).to_be_visible()
        expect(page.get_by_text("load_collection")).to_have_count(0)
        colours = {tuple(one) for one in pixels(shown).reshape(-1, 3)[::7].tolist()}
        keep("voila")
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 800})
        settled(page)
        keep("voila-phone")
        leave(page)
        here = urlsplit(url)
        refused = [
            requests.get(
                f"http://{here.netloc}/",
                headers=headers,
                allow_redirects=False,
                timeout=ENDING_SECONDS,
            )
            for headers in ({}, {"Host": "other.example"})
        ]

    assert [one.headers["Location"].partition("?")[0] for one in refused] == ["/login"] * 2
    with pytest.raises(ConnectionRefusedError):  # the command has ended, and Voila with it
        socket.create_connection((here.hostname, here.port))
    assert len(colours) > 100  # a picture, and not a plane of one colour


def notebook_of(*cells: str) -> str:
    """Return a notebook of code cells."""
    return json.dumps(
        {**NOTEBOOK, "cells": [
            {**NOTEBOOK["cells"][0], "id": f"cell-{n}", "source": source}
            for n, source in enumerate(cells)
        ]}
    )  # fmt: skip


def run_cell(page: Page, number: int) -> None:
    """Run a cell as people do."""
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


def opened_notebook(page: Page, url: str) -> None:
    page.goto(f"{url}lab/tree/map.ipynb")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START_MS)


@pytest.mark.parametrize("application", ["lab", "notebook"])
def test_a_map_in_jupyter_tells_python_what_people_press(
    patient: Page, keep: Keep, tmp_path: Path, application: str, watch: Watch
):
    page = patient
    # Notebook's own settings, which it loads while extensions of JupyterLab are not there yet.
    watch.allow(r"reading 'schema'[^$]*notebook_core")
    (tmp_path / "map.ipynb").write_text(json.dumps(NOTEBOOK))

    with jupyter_lab(tmp_path, {}, application) as url:
        if application == "lab":
            opened_notebook(page, url)
        else:
            page.goto(f"{url}notebooks/map.ipynb")
            state = page.locator(".jp-Notebook-ExecutionIndicator")
            expect(state).to_have_attribute("data-status", "idle", timeout=START_MS)
        run_cell(page, 0)
        shown = settled(page)
        expect(page.get_by_text("Sevens: computed at")).to_be_visible()
        middle = pixels(shown)
        shown.click()
        expect(page.get_by_text("One pixel, computed at")).to_be_visible()
        keep(f"jupyter-{application}")
        run_cell(page, 1)
        expect(page.get_by_text("found [7.0] True")).to_be_visible(timeout=START_MS)
        leave(page)

    height, width = middle.shape[:2]
    assert middle[height // 2, width // 2, :3].tolist() == [255, 0, 0]


SERVED = """\
import terrazzo
m = terrazzo.Map(terrazzo.connect(home={home!r}), height=420, basemap="none")
layer = m.add("sentinel-2-romania", "Forest", bands="B8", stretch=(0, 4000), colors="magma")
m"""


def test_tiles_of_a_server_come_over_http_while_a_cell_runs(
    patient: Page, keep: Keep, tmp_path: Path, demo_home: Path, watch: Watch
):
    page, asked = patient, list[str]()
    busy = "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
    (tmp_path / "map.ipynb").write_text(notebook_of(SERVED.format(home=str(demo_home)), busy))

    def note(request: Request) -> None:
        if "/layers/" in request.url:
            watch.welcome(urlsplit(request.url).netloc)
        if "/tiles/" in request.url:
            asked.append(request.url)

    with jupyter_lab(tmp_path, {}) as url:
        page.on("request", note)
        opened_notebook(page, url)
        with page.expect_response(lambda one: "/layers/" in one.url) as reached:
            run_cell(page, 0)
        assert reached.value.ok
        settled(page)
        run_cell(page, 1)
        expect(page.get_by_text("Python 3 (ipykernel) | Busy")).to_be_visible()
        before = len(asked)
        with page.expect_response(lambda one: "/tiles/" in one.url) as tile:
            page.get_by_role("slider", name="Date").press("ArrowLeft")
        assert tile.value.ok
        shown = settled(page)
        colours = {tuple(one) for one in pixels(shown).reshape(-1, 3)[::7].tolist()}
        keep("over-http")
        (tmp_path / "go").touch()
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START_MS)
        page.keyboard.press("Control+s")
        leave(page)

    assert len(asked) > before
    assert len(colours) > 100
    assert urlsplit(asked[-1]).path.split("/")[1] not in (tmp_path / "map.ipynb").read_text()
