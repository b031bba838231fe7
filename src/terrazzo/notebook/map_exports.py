"""Exports that somebody starts on a map: runs in threads of the kernel, into its folder."""

from __future__ import annotations

import itertools
import mimetypes
import re
import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from terrazzo.drivers.screen.asked import Asked, number_of, wrong
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.geo.crs import WGS84
from terrazzo.notebook.map_channel import Content
from terrazzo.notebook.map_saving import cut
from terrazzo.progress import Cancelled, Stoppable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.notebook.map_layer import Opened
    from terrazzo.notebook.map_screens import Screen

MOST_BYTES: Final = 200_000_000
"""Of a file that is handed over the channel; larger ones stay where they are."""
FOLDER: Final = "terrazzo-exports"
"""In the folder of the notebook."""
FORMATS: Final = ("COG", "netCDF", "ZARR")
"""Of the files."""
MOST: Final = 2
"""Exports of a map that run at a time."""
MOST_PASSING: Final = 4
"""Exports of a map on a dashboard whose files are kept at a time."""
_EDGES: Final = 4
_UNSAFE: Final = re.compile(r"[^\w.-]+")


class ExportUnknown(TerrazzoError):
    """A screen asks about an export that this kernel has not begun."""

    code, status = "ExportUnknown", 404


class ExportsBusy(TerrazzoError):
    """As many exports of a map run as may."""

    code, status = "ExportsBusy", 429


class _Share(Stoppable):
    """How much of a run is done."""

    total, done = 0, 0

    @property
    def percent(self) -> float | None:
        """None before anything is known."""
        return 100.0 * self.done / self.total if self.total else None

    @override
    def note(self, message: str) -> None:
        """Nobody reads it here."""


@dataclass(slots=True, eq=False)
class _Run:
    folder: Path
    progress: _Share = field(default_factory=_Share)
    status: str = "running"
    message: str = ""
    files: tuple[Path, ...] = ()


class Exports:
    """The exports of a map."""

    def __init__(self, folder: Path | None = None, *, passing: bool = False) -> None:
        """Begin without one.

        Args:
            folder: where files go; `FOLDER` in that of the notebook without.
            passing: whether files are there to be handed over only: those of the last exports are
                kept in a folder of their own, which goes with the kernel.
        """
        self._passing = passing
        if passing:
            folder = Path(tempfile.mkdtemp(prefix="terrazzo-exports-", dir=folder))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = folder
        self._runs: dict[str, _Run] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def start(self, opened: Opened, given: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to compute a part of a layer; returns `{id}`.

        The graph is that which the layer was opened with: browsers choose only a part of it.

        Args:
            opened: the layer.
            given: `bounds` in `crs` (the layer's own, or degrees), `date` (null for all), `format`
                and `title`.

        Raises:
            ArgumentInvalid: one of them is not as it must be.
            ExportsBusy: others have to end first.
        """
        asked = Asked.of(given, ("layer", "bounds", "crs", "date", "format", "title"))
        title, graph = asked.text("title", "export"), _graph(opened, asked)
        with self._lock:
            if sum(run.status == "running" for run in self._runs.values()) >= MOST:
                raise ExportsBusy(
                    f"{MOST} exports of this map are running, as many as may. Wait until one has "
                    "ended, or stop it."
                )
            self._drop_old()
            run = _Run(self._free(_UNSAFE.sub("-", title).strip("-.")[:80] or "export"))
            name = f"export-{next(self._numbers)}"
            self._runs[name] = run
        arguments = (run, opened.screen, graph, "" if self._passing else f"in {run.folder}")
        threading.Thread(target=self._work, args=arguments, name=name, daemon=True).start()
        return {"id": name}

    @property
    def running(self) -> bool:
        """Whether one of them is computed."""
        return any(run.status == "running" for run in list(self._runs.values()))

    def status(self, name: str) -> dict[str, Any]:
        """Return how an export is doing.

        Raises:
            ExportUnknown: there is none of this name.
        """
        run = self._known(name)
        files = [{"name": one.name, "bytes": one.stat().st_size} for one in run.files]
        told = {"status": run.status, "progress": run.progress.percent, "message": run.message}
        return told | {"files": files}

    def stop(self, name: str) -> dict[str, Any]:
        """End an export.

        Raises:
            ExportUnknown: there is none of this name.
        """
        self._known(name).progress.stopped = True
        return {}

    def file(self, name: str, wanted: str) -> Content:
        """Return a file of an export.

        Raises:
            ExportUnknown: there is none of this name, or it has no such file.
            ArgumentInvalid: the file is too large for a browser.
        """
        found = [one for one in self._known(name).files if one.name == wanted]
        if not found:
            raise ExportUnknown(f"The export has no file {wanted[:80]!r}.")
        size = found[0].stat().st_size
        if size > MOST_BYTES:
            raise ArgumentInvalid(
                f"The file has {size / 1e6:.0f} MB; {MOST_BYTES / 1e6:.0f} MB are handed to a "
                + (
                    "browser. Zoom in, and export less."
                    if self._passing
                    else f"browser. It is on the kernel's machine: {found[0]}"
                )
            )
        kind = mimetypes.guess_type(found[0].name)[0] or "application/octet-stream"
        return Content(found[0].read_bytes(), kind, {"name": found[0].name})

    def end(self) -> None:
        """End all of them."""
        for run in self._runs.values():
            run.progress.stopped = True

    def _drop_old(self) -> None:
        """Remove the files of all but the last exports, where they only pass."""
        ended = [run for run in self._runs.values() if run.status != "running"]
        for run in ended[: -MOST_PASSING + 1] if self._passing else ():
            run.files = ()
            shutil.rmtree(run.folder, ignore_errors=True)

    def _free(self, stem: str) -> Path:
        base = self._folder or Path.cwd() / FOLDER
        taken = {run.folder for run in self._runs.values()}
        folder = base / stem
        for number in itertools.count(2):
            if folder not in taken and not folder.exists():
                break
            folder = base / f"{stem}-{number}"
        return folder

    def _known(self, name: str) -> _Run:
        if name not in self._runs:
            raise ExportUnknown("This kernel has begun no such export; begin it again.")
        return self._runs[name]

    @staticmethod
    def _work(run: _Run, screen: Screen, graph: Mapping[str, Any], where: str) -> None:
        try:
            run.folder.mkdir(parents=True)
            run.files = tuple(screen.save(graph, run.folder, run.progress))
        except Cancelled:
            run.status = "canceled"
        except (TerrazzoError, OSError) as error:
            run.status, run.message = "error", str(error)
        except Exception as error:  # noqa: BLE001 - nobody else is there to tell it
            run.status, run.message = "error", f"{type(error).__name__}: {error}"
        else:
            run.status, run.message = "finished", where


def _graph(opened: Opened, asked: Asked) -> dict[str, dict[str, Any]]:
    """Return the graph of a layer, cut to what is asked and saved.

    Raises:
        ArgumentInvalid: a parameter is not as it must be.
    """
    corners = asked.given.get("bounds")
    if not isinstance(corners, list | tuple) or len(corners) != _EDGES:
        raise wrong("bounds", corners, "[left, bottom, right, top] in `crs`")
    bounds = [number_of("bounds", one) for one in corners]
    native = opened.about.get("native") or {}
    own = str(native.get("crs", WGS84))
    named = asked.chosen("crs", (own, WGS84), WGS84)
    number = re.fullmatch(r"EPSG:(\d+)", named)
    crs = int(number[1]) if number else native.get("wkt") or named
    label, dates = asked.given.get("date"), opened.about["dates"]
    if label is not None and label not in dates:
        raise wrong("date", label, f"one of the {len(dates)} dates of the layer, or null")
    dated = None if label is None else (str(opened.about["temporal"]), str(label))
    form = asked.chosen("format", FORMATS)
    return cut(opened.graph, bounds, dated, crs=crs, format_name=form)
