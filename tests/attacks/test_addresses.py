"""Servers that may be read, and lead elsewhere: by redirects, by links, and by their names."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.conftest import PUBLIC
from tests.attacks.world import graph
from tests.server.stac_written import collection, item

from terrazzo.storage import gate as gate_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.world import Attacked

MINE = "anna~addresses"


def load_url(there: Attacked, url: str) -> Any:
    return there.ask("POST", "/result", graph("load_url", url=url, format="GeoJSON"))


def load_table(there: Attacked, url: str) -> Any:
    return there.ask("POST", "/result", graph("load_url", url=url, format="GPKG"))


def load_stac(there: Attacked, url: str) -> Any:
    return there.ask("POST", "/result", graph("load_stac", url=url))


def load_image(there: Attacked, url: str) -> Any:
    assets = {"data": {"href": url, "type": "image/tiff", "roles": ["data"]}}
    (there.site.folder / "item.json").write_text(json.dumps(item("a", assets=assets, links=[])))
    return load_stac(there, there.site.url("item.json"))


def load_link(there: Attacked, url: str) -> Any:
    told = collection("linked", links=[{"rel": "item", "href": url}])
    (there.site.folder / "collection.json").write_text(json.dumps(told))
    return load_stac(there, there.site.url("collection.json"))


def written_item(there: Attacked, url: str) -> Any:
    there.ask("POST", "/collections", collection(MINE))
    assets = {"data": {"href": url, "type": "image/tiff", "roles": ["data"]}}
    there.ask("POST", f"/collections/{MINE}/items", item("a", assets=assets))
    every = {"spatial_extent": None, "temporal_extent": None}
    read = there.ask("POST", "/result", graph("load_collection", id=MINE, **every))
    seen = there.ask("GET", f"/collections/{MINE}/items/a/preview")
    there.ask("DELETE", f"/collections/{MINE}/items/a")
    there.check(seen)
    return read


READERS: dict[str, Callable[[Attacked, str], Any]] = {
    one.__name__: one
    for one in (load_url, load_table, load_stac, load_image, load_link, written_item)
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("away", ["bell", "file", "itself"])
def test_redirects_are_not_followed(attacked: Attacked, reader: str, away: str):
    there = {
        "bell": f"http://127.0.0.1:{attacked.bell.port}/image.tif",
        "file": f"file://{attacked.canary}",
        "itself": attacked.site.url("other.tif"),
    }
    attacked.site.redirects["/moved.tif"] = there[away]

    answer = READERS[reader](attacked, attacked.site.url("moved.tif"))

    attacked.check(answer)


@pytest.mark.parametrize("reader", READERS)
def test_a_page_that_sends_browsers_elsewhere_is_no_document(attacked: Attacked, reader: str):
    page = f'<meta http-equiv="refresh" content="0;url=http://127.0.0.1:{attacked.bell.port}/">'
    (attacked.site.folder / "page.tif").write_text(page)

    answer = READERS[reader](attacked, attacked.site.url("page.tif"))

    attacked.check(answer)
    assert attacked.bell.rung == 0


@pytest.mark.parametrize("reader", READERS)
def test_a_name_that_means_this_machine_is_not_read(attacked: Attacked, reader: str):
    url = f"http://loop.example:{attacked.bell.port}/image.tif"
    listed = "http://loop.example/image.tif"

    for one in (url, listed):
        answer = READERS[reader](attacked, one)

        assert answer.status_code == 403, answer.text
        attacked.check(answer)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("inside", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_name_that_means_another_machine_later_is_not_read(
    attacked: Attacked, reader: str, inside: str, monkeypatch: pytest.MonkeyPatch
):
    gate_module._addresses.cache_clear()
    known, asked = socket.getaddrinfo, []
    connected = []

    def rebound(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host != "data.example":
            return known(host, port, *more, **named)
        asked.append(host)
        address = PUBLIC if len(asked) == 1 else inside
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        place = (
            (address, attacked.bell.port, 0, 0) if ":" in address else (address, attacked.bell.port)
        )
        return [(family, socket.SOCK_STREAM, 6, "", place)]

    def connect(self: socket.socket, place: Any) -> None:
        if "127.0.0.1" in str(place[0]) and place[1] == attacked.bell.port:
            connected.append(place)
        if place[0] == PUBLIC:
            raise ConnectionRefusedError
        real(self, place)

    real = socket.socket.connect
    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    monkeypatch.setattr(socket.socket, "connect", connect)

    answer = READERS[reader](attacked, "http://data.example/image.tif")

    assert asked
    assert not connected
    assert attacked.bell.rung == 0
    if reader != "written_item":
        attacked.check(answer)
    gate_module._addresses.cache_clear()
