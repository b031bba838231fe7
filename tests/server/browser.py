"""A real browser that a test drives, over the pipe that Chromium has for that."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0


class PageLeft(Exception):
    """The page went while it was asked something."""


class Browser:
    """One tab of a browser."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._ids, self._rest, self._session = itertools.count(1), b"", ""
        self.asked: set[str] = set()
        """Hosts of all that the page asked for."""
        self.wrong: list[str] = []
        """What the page complained of."""
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.tell("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise PageLeft
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        """Open one of the catalogue's pages, and wait until it shows what it shows."""
        self.size(width, height)
        self.tell("Page.navigate", url="about:blank")
        self.asked.clear()
        self.wrong.clear()
        self.tell("Page.navigate", url=url)
        self.until(f"location.href.split('#')[0] === {json.dumps(url)} && {LOADED}")
        self.run(PAINTED)

    def size(self, width: int, height: int) -> None:
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def run(self, script: str) -> Any:
        """Return the value of a script."""
        told = self.tell(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until a script is true; while a page goes and the next one comes it may fail."""
        end = time.monotonic() + PATIENCE
        while not self._is(script):
            assert time.monotonic() < end, f"{script} stays false; {self.run(TEXT)}; {self.wrong}"
            time.sleep(0.05)

    def press_button(self, selector: str) -> None:
        """Press a button, which may lead to another page."""
        self.run(f"void setTimeout(() => document.querySelector({json.dumps(selector)}).click())")

    def _is(self, script: str) -> bool:
        tried = f"(() => {{ try {{ return !!({script}); }} catch {{ return false; }} }})()"
        try:
            return bool(self.run(tried))
        except PageLeft:
            return False

    def text(self, selector: str = "body") -> str:
        """Return the text of an element as it is seen."""
        told: str = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return told

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            with suppress(PageLeft):
                self.tell(
                    "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                    windowsVirtualKeyCode=KEYS.get(key, 0), **text,
                )  # fmt: skip

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.tell("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, **options: Any) -> None:
        """Move, press or release the mouse."""
        self.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, **options)

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button."""
        middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
        self.mouse("mouseMoved", *begin)
        self.mouse("mousePressed", *begin, button="left", clickCount=1)
        self.mouse("mouseMoved", *middle, button="left", buttons=1)
        self.mouse("mouseMoved", *end, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)

    def click(self, x: float, y: float) -> None:
        """Click somewhere."""
        self.drag((x, y), (x, y))

    def middle(self, selector: str) -> tuple[float, float]:
        """Return where the middle of an element is."""
        script = (
            "(() => { const { left, top, width, height } = document.querySelector("
            f"{json.dumps(selector)}).getBoundingClientRect(); "
            "return [left + width / 2, top + height / 2]; })()"
        )
        x, y = self.run(script)
        return float(x), float(y)

    def picture(self, path: Path) -> None:
        """Keep what is seen as a PNG."""
        shot = self.tell("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(shot))

    def _next(self) -> dict[str, Any]:
        """Return the next message, and note what it tells."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], PATIENCE)
            assert ready, "the browser says nothing any more"
            piece = os.read(self._reading, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        told = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                url = urlsplit(told["request"]["url"])
                if url.scheme in {"http", "https", "ws"}:
                    self.asked.add(url.netloc)
            case "Runtime.exceptionThrown":
                self.wrong.append(json.dumps(told["exceptionDetails"])[:1000])
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.wrong.append(told["entry"]["text"])
        return message


LOADED = "document.documentElement?.dataset.loaded"
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
"""Where things are is known once they were painted: maps draw in the next frame."""
TEXT = "document.body.innerText.slice(0, 500)"
KEYS = {"Enter": 13, "ArrowLeft": 37, "Tab": 9}


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Start a browser, which ends with the block; CI needs one."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium on PATH to look at the pages")
        pytest.skip("needs chromium on PATH")
    theirs, writing = os.pipe()
    reading, back = os.pipe()
    command = shlex.join([PROGRAM, *FLAGS, f"--user-data-dir={folder / 'browser'}"])
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command} 3<&{theirs} 4>&{back}"],
        pass_fds=(theirs, back), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(back)
    try:
        yield Browser(reading, writing)
    finally:
        os.close(writing)
        process.kill()  # its processes end with it, and what it has in its folder is nobody's
        process.wait()
        os.close(reading)
