"""The pages of collections of geometries, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient
from tests.server.browser import browsing
from tests.server.fields import ROOT, make_fields

from terrazzo.server.app import create_app
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.browser import Browser

    from terrazzo.drivers.job import Workspace

DRAWN = "document.querySelector('.map.tiles').dataset.loaded === 'yes'"
COLOURED = """(() => {
  const canvas = document.querySelector('.map.tiles canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let i = 0; i < data.length; i += 4) found.add(data.slice(i, i + 3).join());
  return ['31,119,180', '255,127,14', '44,160,44'].filter((colour) => found.has(colour)).length;
})()"""
"""How many of the first three colours are on the map."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_fields(tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="module")
def seen(
    home: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Browser, str]]:
    tab: Path = tmp_path_factory.mktemp("tab")
    with serving(home, settings=ServerSettings(job_workers=0)) as url, browsing(tab) as browser:
        yield browser, url


def test_browsers_get_pages_where_programs_get_documents(home):
    paths = (
        "/features",
        ROOT,
        f"{ROOT}/fields",
        f"{ROOT}/fields/items",
        f"{ROOT}/fields/items/fields.3",
    )
    with TestClient(create_app(home)) as client:
        for path in paths:
            page = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
            document = client.get(path, headers={"Accept": "application/json"})

            assert page.headers["content-type"].startswith("text/html")
            assert "json" in document.headers["content-type"]
            assert "Accept" in document.headers["vary"]
        gone = client.get(f"{ROOT}/none", headers={"Accept": "text/html"})
        assert gone.status_code == 404


@pytest.mark.slow
def test_a_map_shows_features_in_the_colours_of_an_attribute(seen):
    browser, url = seen
    browser.open(f"{url}{ROOT}/fields")
    browser.until(DRAWN)
    before = browser.run(COLOURED)

    browser.run(
        "(() => { const list = document.querySelector('select'); list.value = 'crop'; "
        "list.dispatchEvent(new Event('change')); })()"
    )
    browser.until("document.querySelectorAll('.legend li').length === 3")

    assert (before, browser.run(COLOURED)) == (0, 3)
    assert {"rye", "wheat", "grass"} == set(browser.text(".legend").split())
    assert browser.wrong == []
    assert browser.asked == {url.removeprefix("http://")}


@pytest.mark.slow
def test_a_feature_is_told_when_it_is_clicked_or_found(seen):
    browser, url = seen
    browser.open(f"{url}{ROOT}/fields/items/fields.743")
    browser.until(DRAWN)
    browser.until("document.querySelector('.chosen h2')")
    assert "field 0743" in browser.text(".chosen")

    browser.open(f"{url}{ROOT}/islands")
    browser.run(
        "(() => { document.querySelector('[name=filter]').value = \"name = 'across'\"; "
        "document.querySelector('form.panel').requestSubmit(); })()"
    )
    browser.until("document.querySelectorAll('main tbody tr').length === 1")
    browser.press_button("main tbody a")
    browser.until("document.querySelector('.chosen h2')")

    assert "across" in browser.text(".chosen")
    assert browser.wrong == []


@pytest.mark.slow
def test_a_wrong_filter_says_what_is_wrong(seen):
    browser, url = seen
    browser.open(f"{url}{ROOT}/fields/items?filter=crap%3D1")
    browser.until("document.querySelector('section .wrong')")

    assert "Did you mean 'crop'" in browser.text("section .wrong")
