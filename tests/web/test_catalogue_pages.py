"""The pages of the catalogue in a real browser: what they show, and what people do on them."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

import duckdb
import pystac_client
import pytest
import rasterio
from playwright.sync_api import expect
from tests.server.people import PASSWORD, closed, ledger, newcomer
from tests.server.small import COLLECTION, DATES, make_home
from tests.web.leaving import visited
from tests.web.looking import (
    LOADED,
    PAINTED,
    barriers,
    cut_off,
    drag,
    faults,
    pixels,
    show,
    tab_stops,
)

from terrazzo.catalog import BandInfo, make_asset, make_collection, make_item
from terrazzo.ledger import Visibility
from terrazzo.ledger.collections import CollectionAccess, set_access
from terrazzo.ledger.users import find_user
from terrazzo.server.running.listen import serving
from terrazzo.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page
    from tests.web.conftest import Keep
    from tests.web.watching import Watch

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


@pytest.fixture(autouse=True)
def no_picture(watch: Watch) -> None:
    """Let a picture be missing whose file lies at another host that does not answer."""
    watch.allow("status of 404.*/hostile/items/evil/preview")


def test_the_list_tells_what_there_is_and_filters_it(page: Page, url: str) -> None:
    show(page, f"{url}/collections")
    main = page.get_by_role("main")
    text = main.inner_text()
    page.get_by_role("searchbox").press_sequentially("islands STRESSED")

    assert "4 collections" in text
    assert f"{DATES[0]} to {DATES[-1]} · {len(DATES)} items" in text
    assert "4 items" in text
    expect(page.get_by_role("status")).to_have_text("1 of 4")
    expect(main.get_by_role("heading", name="Islands")).to_be_visible()
    expect(main.get_by_role("heading", name="Small")).to_be_hidden()
    expect(page.locator(".thumbnail img").first).to_be_attached()


def test_enter_asks_the_server_for_words(page: Page, url: str) -> None:
    show(page, f"{url}/collections")
    page.get_by_role("searchbox").fill("stressed OR nothing")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"\?q="))
    expect(page.get_by_role("status")).to_have_text("1 collection")
    expect(page.get_by_role("main")).to_contain_text("Islands")


def test_a_collection_is_described_with_its_months(page: Page, url: str) -> None:
    show(page, f"{url}/collections/{COLLECTION}")
    months = page.get_by_role("link", name=re.compile(r"^\d{4}-\d\d: "))
    expect(page.get_by_role("main")).to_contain_text("red")

    told = [month.get_attribute("aria-label") for month in months.all()]
    months.first.click()
    expect(page.locator("html")).to_have_attribute("data-loaded", "items")

    assert told == [f"{date[:7]}: 1 item" for date in sorted(DATES)]
    expect(page.get_by_role("main")).to_contain_text("1 item of 1")
    expect(page.get_by_role("table")).to_contain_text(DATES[0])


def snippets(page: Page) -> dict[str, str]:
    """Return the code of a page by the name of what it is for."""
    return {
        one.locator("summary").text_content() or "": one.locator("code").text_content() or ""
        for one in page.locator(".snippet").all()
    }


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
    page: Page, url: str, tmp_path: Path, item: str
) -> None:
    show(page, f"{url}/collections/{COLLECTION}{item}")
    code = snippets(page)

    run_python(code["openEO in Python"], tmp_path)
    listed = run_python(code["pystac-client"], tmp_path)

    with rasterio.open(tmp_path / "result.tif") as file:
        assert file.count == 1  # no green and no blue, so the first band
        assert file.read(1).max() > 100
    wanted = DATES[0] if item else DATES[-1]
    assert f"scene_{wanted.replace('-', '')}" in listed


def test_gdal_and_duckdb_read_what_the_page_says(page: Page, url: str, tmp_path: Path) -> None:
    show(page, f"{url}/collections/{COLLECTION}")
    code = snippets(page)
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


def island(number: int) -> tuple[float, float]:
    """Return longitude, east beyond 180, and latitude of the middle of an island."""
    return PACIFIC[number] % 360 + 0.5, -19.5 - number


WHERE = """(map) => {
  const { left, top, width, height } = map.getBoundingClientRect();
  return [(map.dataset.bounds ?? '').split(' ').map(Number), [left, top, width, height]];
}"""
"""What a map shows, and where it is in the window, at one moment."""


def laid_out(page: Page) -> tuple[list[float], list[float]]:
    """Return bounds and box of a map once both have stayed what they are for two frames."""
    host = page.locator(".map")
    expect(host).to_have_attribute("aria-busy", "false")
    expect(host).to_have_attribute("data-bounds", re.compile(r"\d"))
    found: tuple[list[float], list[float]] = host.evaluate(WHERE)
    while True:
        page.evaluate(PAINTED)
        before, found = found, host.evaluate(WHERE)
        if found == before:
            return found


def seen(page: Page) -> tuple[float, float, float, float]:
    """Return west, south, east, north of what a map shows when it is still; east beyond 180."""
    (west, south, east, north), _ = laid_out(page)
    turn = 360 * math.floor(west / 360)
    return west - turn, south, east - turn, north


def place(page: Page, lon: float, lat: float) -> tuple[float, float]:
    """Return where a place is in the window: maps of these are in Web Mercator."""
    (west, south, east, north), (left, top, width, height) = laid_out(page)
    low, high, here = (math.asinh(math.tan(math.radians(one))) for one in (south, north, lat))
    across = (lon - west) % 360 / (east - west)
    return left + across * width, top + (high - here) / (high - low) * height


def test_hovering_and_choosing_link_the_map_the_dates_and_the_table(page: Page, url: str) -> None:
    show(page, f"{url}/collections/pacific/items?sortby=id")
    rows = page.locator("tbody tr")

    page.mouse.move(*place(page, *island(3)))
    expect(rows.nth(3)).to_have_class(re.compile("hover"))
    page.mouse.click(*place(page, *island(3)))
    expect(rows.nth(3)).to_have_class(re.compile("chosen"))
    focused = page.evaluate("document.activeElement.textContent")
    page.evaluate("scrollTo(0, 0)")
    before = colour_of(page, *place(page, *island(0)))
    rows.first.locator("td:nth-child(2)").hover()
    page.evaluate("scrollTo(0, 0)")

    assert focused == "island-3"
    expect(page.locator(".dot.hover")).to_have_count(1)
    seen(page)
    assert colour_of(page, *place(page, *island(0))) != before


def colour_of(page: Page, x: float, y: float) -> tuple[int, ...]:
    """Return the colour of a pixel of the window."""
    return tuple(int(one) for one in pixels(page)[round(y), round(x)])


def test_footprints_at_the_antimeridian_lie_side_by_side(page: Page, url: str) -> None:
    show(page, f"{url}/collections/pacific/items?sortby=id")
    rows = page.locator("tbody tr")

    # Each is one degree wide, and begins half a degree east of the one before.
    for number in range(4):
        lon, lat = island(number)
        for aside in (-0.45, 0.45):
            page.mouse.move(*place(page, lon + aside, lat))
            expect(rows.nth(number)).to_have_class(re.compile("hover"))
        page.mouse.move(*place(page, lon + 0.6, lat))
        expect(rows.nth(number)).not_to_have_class(re.compile("hover"))


def test_a_footprint_that_should_have_been_cut_is_as_small_as_it_is(page: Page, url: str) -> None:
    show(page, f"{url}/collections/uncut/items/u")

    west, south, east, north = seen(page)

    # A degree at the equator, and not all that lies around the world.
    assert west < 179.5
    assert east > 180.5
    assert south < 0
    assert north > 1
    assert east - west < 4


def test_a_box_that_is_drawn_is_searched_across_the_antimeridian(page: Page, url: str) -> None:
    show(page, f"{url}/collections/pacific/items?sortby=id")
    x, y = place(page, *island(1))
    page.get_by_role("button", name="Draw a box").click()
    expect(page.locator(".map.drawing")).to_be_visible()

    drag(page, (x - 5, y - 5), (x + 5, y + 5))
    expect(page.locator("input[name=west]")).not_to_have_value("")
    names = ("west", "south", "east", "north")
    box = [float(page.locator(f"input[name={name}]").input_value()) for name in names]
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("bbox"))
    expect(page.locator(LOADED)).to_be_attached()

    west, south, east, north = box
    assert south < -20.5 < north
    assert west > 179
    assert east > west or east < -179
    given = parse_qs(urlsplit(page.url).query)
    assert [float(side) for side in given["bbox"][0].split(",")] == box
    expect(page.get_by_role("table")).to_contain_text("island-1")
    expect(page.get_by_role("table")).not_to_contain_text("island-3")


def test_the_form_asks_the_api_and_keeps_what_it_was_asked(page: Page, url: str) -> None:
    show(page, f"{url}/collections/pacific/items")
    values = {"from": "2020-02-01", "to": "2020-03-31", "cloud": "30", "filter": "id <> 'x'"}

    for name, value in values.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"\?"))
    expect(page.locator(LOADED)).to_be_attached()

    # The second lies in the period and has 20 % of cloud; the third has 40 %.
    expect(page.get_by_role("main")).to_contain_text("1 item of 1")
    expect(page.get_by_role("table")).to_contain_text("island-1")
    assert {name: page.locator(f"[name={name}]").input_value() for name in values} == values


def test_pages_of_items_are_followed_to_the_end(page: Page, url: str) -> None:
    show(page, f"{url}/search?limit=3&sortby=id")
    seen = []
    while True:
        seen += page.locator("tbody td:first-child").all_text_contents()
        following = page.locator("a[rel=next]")
        if not following.count():
            break
        show(page, following.evaluate("a => a.href"))

    with_client = pystac_client.Client.open(url).search(sortby="id").items()
    assert seen == [item.id for item in with_client]


def test_a_bad_condition_is_explained_beside_the_form(page: Page, url: str, watch: Watch) -> None:
    watch.expect("status of 400")
    show(page, f"{url}/collections/pacific/items?filter=this+is+no+(condition")

    assert len(page.locator("main .wrong").text_content() or "") > 20
    expect(page.locator("[name=filter]")).to_have_value(re.compile("^this is"))


def test_an_item_shows_its_picture_and_leads_to_its_files(page: Page, url: str) -> None:
    show(page, f"{url}/collections/{COLLECTION}/items/scene_20180501")
    expect(page.locator(".picture img")).to_have_js_property("complete", True)

    files = page.locator("td a[aria-label]").evaluate_all("all => all.map((a) => a.href)")
    assert page.locator(".picture img").evaluate("image => image.naturalWidth") == 300
    expect(page.locator(".picture figcaption")).to_contain_text("red, from the 2nd")
    assert len(files) >= 1
    assert all(file.startswith(f"{url}/collections/{COLLECTION}/") for file in files)


@pytest.mark.parametrize(
    "path",
    ["collections", "collections/hostile", "collections/hostile/items",
     "collections/hostile/items/evil", "search"],
)  # fmt: skip
def test_hostile_texts_stay_texts_and_lead_nowhere(page: Page, url: str, path: str) -> None:
    show(page, f"{url}/{path}")

    assert MARKUP in page.evaluate("document.body.textContent")
    assert "owned" not in page.title().replace(MARKUP, "")
    expect(page.locator("img[src=x], main script")).to_have_count(0)
    hrefs = page.locator("[href]").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
    assert [href for href in hrefs if href.lower().startswith(("javascript", "data", "vbs"))] == []


PATHS = (
    "collections", f"collections/{COLLECTION}", "collections/pacific/items",
    f"collections/{COLLECTION}/items/scene_20180501", "search",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out_by_light_or_dark(
    page: Page, url: str, path: str, scheme: Literal["light", "dark"], keep: Keep
) -> None:
    page.emulate_media(color_scheme=scheme)
    show(page, f"{url}/{path}")
    keep("seen")

    assert barriers(page) == []
    assert cut_off(page) == []


@pytest.mark.parametrize("path", PATHS)
def test_a_phone_needs_no_scrolling_sideways(page: Page, url: str, path: str, keep: Keep) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    show(page, f"{url}/{path}")
    keep("seen")

    assert cut_off(page) == []


@pytest.mark.parametrize("path", PATHS)
def test_everything_is_reached_with_the_keyboard_and_has_a_name(
    page: Page, url: str, path: str
) -> None:
    show(page, f"{url}/{path}")

    stops = tab_stops(page)
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((h) => +h.tagName[1])")

    assert len(stops) > 5
    assert faults(stops) == []
    assert levels[0] == 1
    assert levels.count(1) == 1


def test_a_map_moves_with_the_arrows(page: Page, url: str) -> None:
    show(page, f"{url}/collections/pacific/items")
    west, south, _, _ = seen(page)
    there = page.locator(".map").get_attribute("data-bounds") or ""

    page.locator(".map [role=application]").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".map")).not_to_have_attribute("data-bounds", there)

    assert seen(page)[0] < west
    assert seen(page)[1] == pytest.approx(south)


def test_somebody_logs_in_where_something_is_not_for_everybody(
    page: Page, watch: Watch, tmp_path: Path
) -> None:
    workspace = make_home(tmp_path)
    database = ledger(workspace.home)
    newcomer(database, "owner")
    person = find_user(database, "owner").id
    set_access(database, CollectionAccess(COLLECTION, Visibility.PRIVATE, owner=person))
    database.close()
    watch.expect("status of 404")
    watch.expect("status of 403")
    with visited(page, workspace, closed()) as url:
        show(page, f"{url}/collections/{COLLECTION}")
        before = page.get_by_role("main").inner_text()
        page.get_by_role("main").get_by_role("button", name="Log in").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("owner")
        dialog.get_by_label("Password").fill("wrong")
        dialog.get_by_role("button", name="Log in").click()
        expect(dialog.get_by_role("alert")).not_to_be_empty()
        dialog.get_by_label("Password").fill(PASSWORD)
        dialog.get_by_role("button", name="Log in").click()
        expect(page.locator(".snippet").first).to_be_visible()
        after = page.get_by_role("main").inner_text()
        show(page, f"{url}/collections/{COLLECTION}/items/scene_20180501")
        expect(page.locator(".picture img")).to_have_js_property("complete", True)
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Not found")

    assert "Not found" in before
    assert "log in" in before
    assert "Small" in after
    assert "authenticate_basic" in after
