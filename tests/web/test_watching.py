"""The watch over pages sees what goes wrong; or no other test of a page would tell anything."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.web.conftest import browsing
from tests.web.looking import barriers, faults, pixels, tab_stops
from tests.web.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@contextmanager
def site(body: str) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = f"<!doctype html><html lang=en><title>T</title>{body}".encode()
            known = self.path == "/"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content if known else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ICON = '<link rel="icon" href="data:,">'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<script>console.error('oh no')</script>", "oh no"),
        ("<script>null.x</script>", "TypeError"),
        ("<script>Promise.reject(new RangeError('far'))</script>", "RangeError: far"),
        ("<img src=missing.png alt=x>", "404"),
        (
            "<img src=http://localhost:19999/x.png alt=x>",
            "another host was asked: http://localhost",
        ),
        (
            "<script>try { new WebSocket('ws://localhost:19999/x') } catch {}</script>",
            "ws://localhost",
        ),
    ],
)
def test_what_goes_wrong_fails_the_test(chromium: Browser, body: str, told: str) -> None:
    watch = Watch()
    with site(ICON + body) as url, browsing(chromium, watch) as context:
        page = context.new_page()
        page.goto(url, wait_until="networkidle")

    with pytest.raises(AssertionError, match=told):
        watch.check()


def test_a_complaint_that_is_expected_must_come(chromium: Browser) -> None:
    caused, idle = Watch(), Watch()
    caused.expect("status of 404")
    idle.expect("status of 404")
    with site(f"{ICON}<img src=missing.png alt=x>") as url, browsing(chromium, caused) as context:
        context.new_page().goto(url, wait_until="networkidle")

    caused.check()
    with pytest.raises(AssertionError, match="did not come"):
        idle.check()


def test_barriers_and_stops_without_name_or_mark_are_found(page: Page) -> None:
    body = (
        f"{ICON}<main><h1>A</h1><a href=#a>first</a><p><button></button>"
        "<p><a href=#b style='outline:0;color:#ccc;background:#fff'>pale</a></main>"
    )
    with site(body) as url:
        page.goto(url)
        found, stops = barriers(page), tab_stops(page)

    assert {one.split()[0] for one in found} == {"button-name", "color-contrast"}
    assert [stop.name for stop in stops] == ["first", "", "pale"]
    assert [one.split(":")[0] for one in faults(stops)] == ["no name", "focus is not seen"]


def test_pixels_are_those_that_are_seen(page: Page) -> None:
    page.set_content("<style>body { margin: 0; background: rgb(10, 200, 30) }</style>")

    seen = pixels(page)

    assert seen.shape == (800, 1280, 3)
    assert (seen == [10, 200, 30]).all()
