"""Every string that could open something, through every door that takes a string."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.attacks.strings import ALL, OPEN_THE_CANARY, RING_THE_BELL
from tests.attacks.watch import Bell
from tests.attacks.world import SECRET, graph
from tests.server.stac_written import collection, item

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.world import Attacked

MINE = "anna~attacks"


def _parameter(process: str, name: str, **more: Any) -> Callable[[Attacked, str], Any]:
    """Return a door: a user-defined process that hands its parameter on."""

    def door(there: Attacked, text: str) -> Any:
        given = {"from_parameter": "given"}
        value = [given] if name == "paths" else given
        node = {"process_id": process, "arguments": {name: value, **more}, "result": True}
        stored = {
            "process_graph": {"load": node},
            "parameters": [{"name": "given", "description": "", "schema": {"type": "string"}}],
        }
        made = there.ask("PUT", f"/process_graphs/{process}_of", stored)
        assert made.status_code == 200, made.text
        return there.ask("POST", "/result", graph(f"{process}_of", given=text))

    return door


def _through(path: str, process: str, name: str, **more: Any) -> Callable[[Attacked, str], Any]:
    def door(there: Attacked, text: str) -> Any:
        value = [text] if name == "paths" else text
        return there.ask("POST", path, graph(process, **{name: value, **more}))

    return door


def _service(there: Attacked, text: str) -> Any:
    return there.ask("POST", "/services", {**graph("load_stac", url=text), "type": "xyz"})


def _href(there: Attacked, text: str) -> Any:
    there.ask("POST", "/collections", collection(MINE))
    assets = {"data": {"href": text, "type": "image/tiff", "roles": ["data"]}}
    document = item("evil", assets=assets)
    written = there.ask("POST", f"/collections/{MINE}/items", document)
    if written.status_code == 201:  # an address of somebody, which is looked at when it is read
        read = there.ask("POST", "/result", _loaded())
        seen = there.ask("GET", f"/collections/{MINE}/items/evil/preview")
        there.ask("DELETE", f"/collections/{MINE}/items/evil")
        there.check(seen, known=text)
        return read
    return written


def _loaded() -> dict[str, Any]:
    return graph("load_collection", id=MINE, spatial_extent=None, temporal_extent=None)


def _served_href(there: Attacked, text: str) -> Any:
    assets = {"data": {"href": text, "type": "image/tiff", "roles": ["data"]}}
    told = json.dumps(item("evil", assets=assets, links=[]))
    (there.site.folder / "item.json").write_text(told)
    return there.ask("POST", "/result", graph("load_stac", url=there.site.url("item.json")))


def _upload(there: Attacked, text: str) -> Any:
    name = quote(text, safe="", errors="surrogatepass")
    return there.ask("GET", f"/files/{name or '%20'}")


DOORS: dict[str, Callable[[Attacked, str], Any]] = {
    "load_stac": _through("/result", "load_stac", "url"),
    "load_url of GeoJSON": _through("/result", "load_url", "url", format="GeoJSON"),
    "load_url of GPKG": _through("/result", "load_url", "url", format="GPKG"),
    "load_uploaded_files of images": _through(
        "/result", "load_uploaded_files", "paths", format="GTiff"
    ),
    "a parameter of load_stac": _parameter("load_stac", "url"),
    "a parameter of load_uploaded_files": _parameter(
        "load_uploaded_files", "paths", format="GTiff"
    ),
    "a service": _service,
    "the href of an item": _href,
    "the href of an item that is fetched": _served_href,
    "the name of a file": _upload,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("attack", ALL)
def test_a_string_opens_nothing(attacked: Attacked, attack: str, door: str):
    text = attacked.filled(ALL[attack])

    answer = DOORS[door](attacked, text)

    attacked.check(answer, known=text)


@pytest.mark.parametrize("attack", ALL)
def test_validation_names_the_mistake(attacked: Attacked, attack: str):
    text = attacked.filled(ALL[attack])

    answer = attacked.ask("POST", "/validation", graph("load_stac", url=text)["process"])

    assert answer.status_code == 400 or answer.json()["errors"]
    assert str(attacked.home) in text or str(attacked.home) not in answer.text
    assert not attacked.watch.opened()
    assert attacked.bell.rung == 0


def test_the_server_is_as_well_as_before(attacked: Attacked):
    answer = attacked.ask("POST", "/result", graph("add", x=1, y=2))

    assert answer.json() == 3
    assert not (attacked.canary.parent / "touched").exists()


_PLAIN = """
import json, sys, rasterio
told = {}
for name, text in json.load(sys.stdin).items():
    try:
        with rasterio.open(text) as file:
            told[name] = float(file.read().max())
    except Exception as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def plainly(attacked: Attacked) -> dict[str, Any]:
    """Return what GDAL reads without us, in a process of its own."""
    asked = {name: attacked.filled(text) for name, text in OPEN_THE_CANARY.items()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PLAIN],
        input=json.dumps(asked), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert attacked.watch.opened()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("attack", OPEN_THE_CANARY)
def test_the_attack_is_real(plainly: dict[str, Any], attack: str):
    expected = math.log10(SECRET) if "LOG" in OPEN_THE_CANARY[attack] else SECRET

    assert plainly[attack] == pytest.approx(expected)


def test_what_connects_would_ring_the_bell():
    bell = Bell()
    filled = RING_THE_BELL["/vsicurl/"].format(bell=f"127.0.0.1:{bell.port}", folder="")

    subprocess.run(
        [sys.executable, "-c", f"import rasterio; rasterio.open({filled!r})"],
        capture_output=True,
        check=False,
    )

    assert bell.rung > 0
    bell.close()
