"""The pages of the catalogue in a real browser: what they show, and what people do on them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import duckdb
import pystac_client
import pytest
import rasterio
from tests.server.browser import LOADED, browsing
from tests.server.people import PASSWORD, closed, ledger, newcomer
from tests.server.small import COLLECTION, DATES, make_home

from terrazzo.catalog import BandInfo, make_asset, make_collection, make_item
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server.browser import Browser

    from terrazzo.drivers.job import Workspace

pytestmark = pytest.mark.slow

MARKUP = "<img src=x onerror=\"document.title='owned'\">"
PACIFIC = (179.0, 179.5, -180.0, -179.5)
"""West sides of items one degree wide, of which the second reaches across the antimeridian."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_home(tmp_path_factory.mktemp("explore"))
    with workspace.catalog() as catalog:
        catalog.put_collection(
            make_collection("pacific", title="Islands", description="Some **stressed** words.")
        )
        for number, west in enumerate(PACIFIC):
            east = west + 1 if west + 1 <= 180 else west + 1 - 360
            catalog.put_items(
                [
                    make_item(
                        f"island-{number}",
                        "pacific",
                        datetime=f"2020-0{number + 1}-10T00:00:00Z",
                        bbox=(west, -20 - number, east, -19 - number),
                        properties={"eo:cloud_cover": 20.0 * number},
                    )
                ]
            )
        catalog.put_collection(make_collection("uncut"))
        # As some producers write it: not cut at the antimeridian, and the box around the world.
        ring = [[179.5, 0], [180, 0], [-179.5, 0], [-179.5, 1], [179.5, 1], [179.5, 0]]
        uncut = {"type": "Polygon", "coordinates": [ring]}
        moment, box = "2020-01-01T00:00:00Z", (-180, 0, 180, 1)
        catalog.put_items([make_item("u", "uncut", datetime=moment, bbox=box, geometry=uncut)])
        catalog.put_collection(_hostile())
        asset = make_asset("https://example.com/a.tif", title=MARKUP)
        evil = make_item(
            "evil",
            "hostile",
            datetime="2020-01-01T00:00:00Z",
            bbox=(1, 2, 3, 4),
            properties={"note": MARKUP, "platform": MARKUP, "link": "javascript:alert(1)"},
            assets={MARKUP: asset},
        )
        evil["assets"]["run"] = {"href": "javascript:document.title='owned'", "title": MARKUP}
        evil["links"] = [{"rel": "about", "href": "javascript:alert(1)", "title": MARKUP}]
        catalog.put_items([evil])
    return workspace


def _hostile() -> dict[str, object]:
    document = make_collection(
        "hostile",
        title=MARKUP,
        description=f"{MARKUP} [click](javascript:document.title='owned') <script>alert()</script>",
        license=MARKUP,
        keywords=[MARKUP],
        bands=[BandInfo(MARKUP, description=MARKUP)],
        providers=[{"name": MARKUP, "url": "javascript:document.title='owned'"}],
    )
    document["links"] = [{"rel": "license", "href": "javascript:alert(1)", "title": MARKUP}]
    return document


@pytest.fixture(scope="module")
def url(home: Workspace) -> Iterator[str]:
    with serving(home, settings=ServerSettings(job_workers=0)) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("tab")) as tab:
        yield tab


def test_the_list_tells_what_there_is_and_filters_it(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections")
    text = browser.text("main")
    browser.run("document.querySelector('input[type=search]').focus()")
    browser.type("islands STRESSED")

    assert "4 collections" in text
    assert f"{DATES[0]} to {DATES[-1]} · {len(DATES)} items" in text
    assert "4 items" in text
    assert browser.text("[role=status]") == "1 of 4"
    assert browser.run("[...document.querySelectorAll('.card:not([hidden])')].length") == 1
    browser.until("document.querySelector('.thumbnail img')")
    assert browser.asked == {urlsplit(url).netloc}


def test_enter_asks_the_server_for_words(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections")
    browser.run("document.querySelector('input[type=search]').focus()")
    browser.type("stressed OR nothing")
    browser.press("Enter")

    browser.until("location.search.includes('q=') && " + LOADED)

    assert browser.text("[role=status]") == "1 collection"
    assert "Islands" in browser.text("main")


def test_a_collection_is_described_with_its_months(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections/{COLLECTION}")

    text = browser.text("main")
    bars = browser.run("[...document.querySelectorAll('.chart a')].map((a) => a.ariaLabel)")
    assert bars == [f"{date[:7]}: 1 item" for date in sorted(DATES)]
    assert "red" in text
    assert browser.wrong == []
    address = browser.run("document.querySelector('.chart a').getAttribute('href')")
    browser.open(address)
    assert "1 item of 1" in browser.text("main")
    assert DATES[0] in browser.text("table")


def snippets(browser: Browser) -> dict[str, str]:
    """Return the code of a page by the name of what it is for."""
    found: dict[str, str] = browser.run(
        "Object.fromEntries([...document.querySelectorAll('.snippet')].map((one) => "
        "[one.querySelector('summary').textContent, one.querySelector('code').textContent]))"
    )
    return found


def run_python(code: str, folder: Path) -> str:
    """Run a program in a process of its own, as whoever copies it does."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("item", ["", "/items/scene_20180501"])
def test_the_code_of_a_page_loads_what_the_page_shows(
    browser: Browser, url: str, tmp_path: Path, item: str
) -> None:
    browser.open(f"{url}/collections/{COLLECTION}{item}")
    code = snippets(browser)

    run_python(code["openEO in Python"], tmp_path)
    listed = run_python(code["pystac-client"], tmp_path)

    with rasterio.open(tmp_path / "result.tif") as file:
        assert file.count == 1  # no green and no blue, so the first band
        assert file.read(1).max() > 100
    wanted = DATES[0] if item else DATES[-1]
    assert f"scene_{wanted.replace('-', '')}" in listed


def test_gdal_and_duckdb_read_what_the_page_says(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    browser.open(f"{url}/collections/{COLLECTION}")
    code = snippets(browser)
    name = code["GDAL"].removeprefix("gdalinfo '").removesuffix("'")
    address = f"{url}/collections/{COLLECTION}/items?limit=1000"
    kept = tmp_path / "items.json"
    # DuckDB fetches the program that reads addresses from elsewhere, so a file stands in for it.
    fetch = f"from urllib.request import urlopen; print(urlopen({address!r}).read().decode())"
    kept.write_text(run_python(fetch, tmp_path))

    size = run_python(
        f"import rasterio\nwith rasterio.open({name!r}) as file: print(file.shape)", tmp_path
    )
    assert address in code["DuckDB"]
    rows = duckdb.sql(code["DuckDB"].rstrip(";").replace(address, str(kept))).fetchall()

    assert size.strip() == "(300, 300)"
    assert [row[1].strftime("%Y-%m-%d") for row in rows] == sorted(DATES, reverse=True)


def test_hovering_and_choosing_link_the_map_the_dates_and_the_table(
    browser: Browser, url: str
) -> None:
    browser.open(f"{url}/collections/pacific/items?sortby=id")
    marked = "[...document.querySelectorAll('tbody tr')].findIndex((row) => row.matches('.{}'))"

    browser.mouse("mouseMoved", *browser.middle(".footprint[data-key='3']"))
    hovered = browser.run(marked.format("hover"))
    browser.click(*browser.middle(".footprint[data-key='3']"))
    chosen = browser.run(marked.format("chosen"))
    browser.mouse("mouseMoved", *browser.middle("tbody tr:nth-child(1) td:nth-child(2)"))

    assert (hovered, chosen) == (3, 3)
    assert browser.run("document.activeElement.textContent") == "island-3"
    assert browser.run("document.querySelector('.footprint.hover').dataset.key") == "0"
    assert browser.run("document.querySelectorAll('.dot.hover').length") == 1
    assert browser.wrong == []


def test_footprints_at_the_antimeridian_lie_side_by_side(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections/pacific/items?sortby=id")

    boxes = browser.run(
        "[...Array(4).keys()].map((key) => { const box = document.querySelector("
        "`.footprint[data-key='${key}']`).getBoundingClientRect(); return [box.left, box.width]; })"
    )
    # Each begins half a degree east of the one before, and each is one degree wide.
    lefts, widths = [left for left, _ in boxes], [width for _, width in boxes]
    assert widths == pytest.approx([widths[0]] * 4, rel=0.05)
    assert [b - a for a, b in itertools.pairwise(lefts)] == pytest.approx(
        [widths[0] / 2] * 3, rel=0.1
    )


def test_a_footprint_that_should_have_been_cut_is_as_small_as_it_is(
    browser: Browser, url: str
) -> None:
    browser.open(f"{url}/collections/uncut/items/u")

    script = "(() => { const { width, height } = document.querySelector('.footprint')"
    width, height = browser.run(f"{script}.getBoundingClientRect(); return [width, height]; }})()")
    # A degree at the equator is as wide as high.
    assert width == pytest.approx(height, rel=0.05)


def test_a_box_that_is_drawn_is_searched_across_the_antimeridian(
    browser: Browser, url: str
) -> None:
    browser.open(f"{url}/collections/pacific/items?sortby=id")
    x, y = browser.middle(".footprint[data-key='1']")
    browser.click(*browser.middle(".tools button:last-child"))
    browser.until("document.querySelector('.map.drawing')")

    browser.drag((x - 5, y - 5), (x + 5, y + 5))
    browser.until("document.querySelector('input[name=west]').value")
    names = ("west", "south", "east", "north")
    box = [float(browser.run(f"document.querySelector('input[name={n}]').value")) for n in names]
    browser.press_button("form button[type=submit]")
    browser.until("location.search.includes('bbox') && " + LOADED)

    west, south, east, north = box
    assert south < -20.5 < north
    assert west > 179
    assert east > west or east < -179
    given = parse_qs(urlsplit(browser.run("location.href")).query)
    assert [float(side) for side in given["bbox"][0].split(",")] == box
    assert "island-1" in browser.text("table")
    assert "island-3" not in browser.text("table")


def test_the_form_asks_the_api_and_keeps_what_it_was_asked(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections/pacific/items")
    values = {"from": "2020-02-01", "to": "2020-03-31", "cloud": "30", "filter": "id <> 'x'"}

    for name, value in values.items():
        browser.run(f"document.querySelector('[name={name}]').value = {json.dumps(value)}")
    browser.press_button("form button[type=submit]")
    browser.until("location.search && " + LOADED)

    # The second lies in the period and has 20 % of cloud; the third has 40 %.
    assert "1 item of 1" in browser.text("main")
    assert "island-1" in browser.text("table")
    kept = {n: browser.run(f"document.querySelector('[name={n}]').value") for n in values}
    assert kept == values


def test_pages_of_items_are_followed_to_the_end(browser: Browser, url: str) -> None:
    browser.open(f"{url}/search?limit=3&sortby=id")
    seen = []
    while True:
        seen += browser.run("[...document.querySelectorAll('tbody td:first-child')].map((td) => "
                            "td.textContent)")  # fmt: skip
        following = browser.run("document.querySelector('a[rel=next]')?.href ?? ''")
        if not following:
            break
        browser.open(following)

    with_client = pystac_client.Client.open(url).search(sortby="id").items()
    assert seen == [item.id for item in with_client]


def test_a_bad_condition_is_explained_beside_the_form(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections/pacific/items?filter=this+is+no+(condition")

    assert browser.run("document.querySelector('main .wrong').textContent.length") > 20
    assert browser.run("document.querySelector('[name=filter]').value").startswith("this is")


def test_an_item_shows_its_picture_and_leads_to_its_files(browser: Browser, url: str) -> None:
    browser.open(f"{url}/collections/{COLLECTION}/items/scene_20180501")
    browser.until("document.querySelector('.picture img')?.complete")

    files = browser.run("[...document.querySelectorAll('td a[aria-label]')].map((a) => a.href)")
    assert browser.run("document.querySelector('.picture img').naturalWidth") == 300
    assert "red, from the 2nd" in browser.text(".picture figcaption")
    assert len(files) >= 1
    assert all(file.startswith(f"{url}/collections/{COLLECTION}/") for file in files)
    assert (browser.asked, browser.wrong) == ({urlsplit(url).netloc}, [])


@pytest.mark.parametrize(
    "path",
    ["collections", "collections/hostile", "collections/hostile/items",
     "collections/hostile/items/evil", "search"],
)  # fmt: skip
def test_hostile_texts_stay_texts_and_lead_nowhere(browser: Browser, url: str, path: str) -> None:
    browser.open(f"{url}/{path}")

    assert MARKUP in browser.run("document.body.textContent")
    assert "owned" not in browser.run("document.title").replace(MARKUP, "")
    assert browser.run("document.querySelectorAll('img[src=x], main script').length") == 0
    hrefs = browser.run(
        "[...document.querySelectorAll('[href]')].map((a) => a.getAttribute('href'))"
    )
    assert [href for href in hrefs if href.lower().startswith(("javascript", "data", "vbs"))] == []
    assert browser.asked == {urlsplit(url).netloc}


def test_narrow_screens_need_no_scrolling_sideways(browser: Browser, url: str) -> None:
    for path in ("collections", f"collections/{COLLECTION}", "collections/pacific/items", "search",
                 f"collections/{COLLECTION}/items/scene_20180501"):  # fmt: skip
        browser.open(f"{url}/{path}", width=360, height=700)

        assert browser.run("document.documentElement.scrollWidth") <= 360, path


def test_everything_can_be_reached_with_the_keyboard_and_has_a_name(
    browser: Browser, url: str
) -> None:
    for path in ("collections", f"collections/{COLLECTION}", "collections/pacific/items"):
        browser.open(f"{url}/{path}")

        nameless = browser.run(
            "[...document.querySelectorAll('a, button, input, select, [role=group], [role=img]')]"
            ".filter((one) => one.offsetParent !== null || one.ownerSVGElement)"
            ".filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length))"
            ".map((one) => one.outerHTML.slice(0, 200))"
        )
        assert nameless == []
        levels = browser.run("[...document.querySelectorAll('h1,h2,h3')].map((h) => +h.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
    browser.run("document.querySelector('.map').focus()")
    before = browser.run("document.querySelector('.footprint').getBoundingClientRect().left")
    browser.press("ArrowLeft")
    browser.until(f"document.querySelector('.footprint').getBoundingClientRect().left > {before}")


def test_somebody_logs_in_where_something_is_not_for_everybody(
    browser: Browser, tmp_path: Path
) -> None:
    workspace = make_home(tmp_path)
    database = ledger(workspace.home)
    newcomer(database, "owner")
    person = find_user(database, "owner").id
    set_access(database, CollectionAccess(COLLECTION, Visibility.PRIVATE, owner=person))
    database.close()
    with serving(workspace, settings=closed()) as url:
        browser.open(f"{url}/collections/{COLLECTION}")
        before = browser.text("main")
        browser.run("document.querySelector('main button').click()")
        fields = {"user": "owner", "password": "wrong"}
        for password in ("wrong", PASSWORD):
            fields["password"] = password
            for name, value in fields.items():
                browser.run(f"document.getElementById('{name}').value = {json.dumps(value)}")
            browser.run("document.querySelector('#log-in [type=submit]').click()")
            if password == "wrong":  # noqa: S105 - it is
                browser.until("document.getElementById('refused').textContent")
        browser.until("document.querySelector('.snippet')")
        after = browser.text("main")
        browser.open(f"{url}/collections/{COLLECTION}/items/scene_20180501")
        browser.until("document.querySelector('.picture img')?.complete")
        browser.run("document.getElementById('account').click()")
        browser.until("document.querySelector('h1').textContent === 'Not found'")

    assert "Not found" in before
    assert "log in" in before
    assert "Small" in after
    assert "authenticate_basic" in after
