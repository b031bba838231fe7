"""The widget under `terrazzo.Map`: its state in kernel and browser, what they ask each other."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import traitlets
from typing_extensions import override

from terrazzo import browser
from terrazzo.drivers.own import own_workspace
from terrazzo.drivers.screen.answers import WITHOUT_LAYER, answer
from terrazzo.errors import ArgumentInvalid, TerrazzoError
from terrazzo.notebook.map_answers import frame_of, inspected_frame, json_of
from terrazzo.notebook.map_channel import Channel
from terrazzo.notebook.map_exports import Exports
from terrazzo.notebook.map_layer import MapLayer, Opened, date_for
from terrazzo.notebook.map_projection import projection_of
from terrazzo.notebook.map_scratch import Scratch
from terrazzo.notebook.map_screens import LayerGone, LocalScreen, ServerScreen
from terrazzo.notebook.map_sources import OfBrowser, features_of
from terrazzo.notebook.map_state import merged, new_state


class NotebookMissing(TerrazzoError):
    """What maps in notebooks are made with is not installed."""

    code, status = "NotebookMissing", 501


try:
    import anywidget
except ImportError as missing:
    raise NotebookMissing(
        "Maps in notebooks need a library that is not installed. Run: pip install "
        "'terrazzo[notebook]'"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.notebook.map_channel import Content
    from terrazzo.notebook.map_screens import Screen
    from terrazzo.notebook.map_sources import OfGraph
    from terrazzo.notebook.map_state import Patch
    from terrazzo.progress import Progress

ASSETS: Final = ("land.json",)
"""Files besides the bundle that a screen may ask for."""
HEIGHT: Final = 520
"""Of a map, CSS pixels."""
SCRATCH: Final = Scratch()
"""Takes files and arrays, for all maps of this process."""


class MapWidget(anywidget.AnyWidget):
    """The state of a map, kept alike here and in browsers, and a channel for their questions."""

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    height = traitlets.Int(HEIGHT, min=120).tag(sync=True)
    time = traitlets.Unicode(None, allow_none=True)
    bounds = traitlets.Any(None, allow_none=True)
    drawn = traitlets.Any()
    inspected = traitlets.Any()

    def __init__(
        self,
        connection: Any,
        home: str | os.PathLike[str] | None,
        crs: str | int,
        view: Mapping[str, Any],
        basemap: str,
        height: int,
        direct: bool | None,
    ) -> None:
        """See `Map`; `view` has the members of the state's that are not as they always are.

        Raises:
            ArgumentInvalid: the CRS is none.
            BundleMissing: Terrazzo was copied and not installed.
        """
        projection, told = projection_of(crs)
        state = new_state(projection, basemap)
        state["view"] |= view
        state["extra"] |= told
        self._placed = bool(view)
        self._direct = direct
        self._own: Screen = (
            LocalScreen(own_workspace(os.environ, None if home is None else Path(home)))
            if connection is None
            else ServerScreen(connection)
        )
        self._screens: dict[Any, Screen] = {}
        self._layers: dict[str, MapLayer] = {}
        self._known: dict[str, Opened] = {}
        self._collections: dict[str, tuple[Screen, str]] = {}
        self._keys, self._hearing = itertools.count(1), False
        self._size = (1024, height)
        self._exports = Exports(passing=on_dashboard(os.environ))
        self._channel = Channel(self._answer, self._send_content)
        super().__init__(
            _esm=browser.file("widget.js").read_text(encoding="utf-8"),
            _css=browser.file("widget.css").read_text(encoding="utf-8"),
            state=state,
            height=height,
        )
        self._hearing = True
        self.drawn, self.inspected = frame_of([]), inspected_frame([])
        self._hearing = False
        self.on_msg(lambda _, content, buffers: self._take(content, buffers))

    @override
    def close(self) -> None:
        """End the widget, and what it computes."""
        self._channel.close()
        self._exports.end()
        super().close()

    def layer_state(self, key: str) -> dict[str, Any]:
        """Return the state of a layer; for `MapLayer`.

        Raises:
            LayerGone: it is not on the map any more.
        """
        for layer in self.state["layers"]:
            if layer["key"] == key:
                return dict(layer)
        raise LayerGone("This layer was removed from the map.")

    def change_layer(self, key: str, members: Mapping[str, Any]) -> None:
        """Change members of a layer; for `MapLayer`.

        Raises:
            LayerGone: it is not on the map any more.
        """
        self.layer_state(key)
        self._change({"layers": {"set": {key: dict(members)}}})

    def _change(self, patch: Patch) -> None:
        """Change the state here and in every browser that shows it."""
        self.state = merged(self.state, patch)
        self.send({"apply": patch})

    def _take(self, content: Any, buffers: Any) -> None:
        """Take what a browser sends: questions, and what people did there."""
        del buffers  # browsers send none
        if not isinstance(content, dict):
            return
        if "id" in content or "cancel" in content:
            self._channel.take(content)
            return
        self._hearing = True
        try:
            if isinstance(content.get("changed"), dict):
                self._heard(content["changed"])
            if isinstance(content.get("bounds"), list):
                self.bounds = tuple(float(side) for side in content["bounds"])
                self._size = (int(content["width"]), int(content["height"]))
            if isinstance(content.get("drawn"), dict):
                self.drawn = frame_of(content["drawn"].get("features", []))
            if isinstance(content.get("inspected"), dict):
                self.inspected = inspected_frame(content["inspected"].get("layers", []))
        finally:
            self._hearing = False

    def _heard(self, patch: Patch) -> None:
        """Take over what a browser has changed; it is not sent back.

        Where the screen is in this browser alone, an echo would undo what was done meanwhile.
        """
        state = merged(self.state, patch)
        self.state.clear()
        self.state.update(state)
        self.time = state["time"]
        self._let_go()

    def _let_go(self) -> None:
        """Keep nothing of layers that are not on the map any more."""
        kept = {layer["key"] for layer in self.state["layers"]}
        self._layers = {key: layer for key, layer in self._layers.items() if key in kept}
        named = {one.opened.about["id"] for one in self._layers.values() if one.opened}
        for name in [name for name in self._known if name not in named]:
            opened = self._known.pop(name)
            opened.screen.let_go(opened.id)
            if opened.screen is self._screens.get("scratch") and not self._exports.running:
                SCRATCH.let_go(opened.graph)

    def _send_content(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(content, buffers)

    @traitlets.observe("time")
    def _time_set(self, change: Mapping[str, Any]) -> None:
        if self._hearing:
            return
        time, patch = change["new"], {"time": change["new"]}
        dates = {
            key: date_for(layer.dates, time)
            for key, layer in self._layers.items()
            if time is not None and not self.layer_state(key).get("pinned")
        }
        looks = {
            key: {"look": {**self._layers[key].look, "time": date}}
            for key, date in dates.items()
            if date is not None
        }
        self._change(patch | ({"layers": {"set": looks}} if looks else {}))

    @traitlets.observe("bounds")
    def _bounds_set(self, change: Mapping[str, Any]) -> None:
        if not self._hearing:
            self._go(change["new"])

    @traitlets.observe("drawn")
    def _drawn_set(self, change: Mapping[str, Any]) -> None:
        if not self._hearing:
            data = features_of(change["new"]).members["data"]
            self.send({"draw": data})
            self.state["extra"]["drawn"] = data

    def _go(self, bounds: Any) -> None:
        """Show a place.

        Raises:
            ArgumentInvalid: it is none.
        """
        self._change({"extra": {**self.state["extra"], "fit": checked_bounds(bounds)}})

    def _open(self, shown: OfGraph, title: str) -> Opened:
        """Open a graph where it is computed, or take it as it was opened before."""
        number, screen = self._screen(shown)
        about = screen.open(shown.graph, title)
        name = f"{number}-{about['id']}"
        opened = Opened(screen, str(about["id"]), shown.graph, {**about, "id": name})
        self._known[name] = opened
        return opened

    def _features(self, shown: OfGraph) -> OfBrowser | None:
        """Return what a browser draws of a collection of geometries; None if it is none."""
        if not shown.collection:
            return None
        number, screen = self._screen(shown)
        document = screen.features(shown.collection)
        if document is None:
            return None
        name = f"{number}-{shown.collection}"
        self._collections[name] = screen, shown.collection
        title = str(document.get("title") or shown.collection)
        bounds = box_of(document)
        members = {"kind": "features", "source": name, "bounds": list(bounds)}
        return OfBrowser(members | {"attribution": title}, title, bounds)

    def _tile_of_features(
        self, name: str, params: Mapping[str, Any], progress: Progress
    ) -> Content:
        """Return a vector tile of a collection that is on the map.

        Raises:
            LayerGone: this kernel has not put it there.
        """
        if name not in self._collections:
            raise _gone()
        screen, collection = self._collections[name]
        return screen.feature_tile(collection, params, progress)

    def _screen(self, shown: OfGraph) -> tuple[int, Screen]:
        """Return what computes a graph, and its number on this map."""
        if shown.scratch:
            held = self._screens.setdefault("scratch", LocalScreen(SCRATCH.workspace))
        elif shown.connection is not None:
            key = id(shown.connection)
            held = self._screens.setdefault(key, ServerScreen(shown.connection))
        else:
            held = self._screens.setdefault("own", self._own)
        return list(self._screens.values()).index(held), held

    def _answer(
        self, method: str, layer: str, params: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any] | list[Any] | Content:
        """Answer a question of a browser."""
        if method == "open":
            return self._told(self._known_as(str(params.get("layer"))))
        if method == "asset":
            return _asset(params.get("name"))
        if method in WITHOUT_LAYER:
            return dict(json_of(answer(None, method, params)))
        if method == "features":
            return self._tile_of_features(layer, params, progress)
        if method.startswith("export_"):
            return self._export(method, params)
        known = self._known_as(layer)
        return known.screen.ask(method, known.id, params, progress)

    def _told(self, opened: Opened) -> dict[str, Any]:
        """Return what a browser is told of a layer: never kept, as a token may be in it."""
        direct = None if self._direct is False else opened.screen.direct(opened.id)
        if direct and self._direct is None and (direct["token"] or on_dashboard(os.environ)):
            direct = None  # nobody knows who else has the page open
        return {**opened.about, **({"direct": direct} if direct else {})}

    def _export(self, method: str, params: Mapping[str, Any]) -> dict[str, Any] | Content:
        """Begin an export, or answer a question about one."""
        name = str(params.get("id"))
        if method == "export_start":
            return self._exports.start(self._known_as(str(params.get("layer"))), params)
        if method == "export_stop":
            return self._exports.stop(name)
        if method == "export_file":
            return self._exports.file(name, str(params.get("name")))
        return self._exports.status(name)

    def _known_as(self, name: str) -> Opened:
        """Return an opened layer.

        Raises:
            LayerGone: this kernel has not opened it.
        """
        if name not in self._known:
            raise _gone()
        return self._known[name]


def _gone() -> LayerGone:
    return LayerGone(
        "This layer was opened by a kernel that has ended. Run the notebook's cells again."
    )


def box_of(document: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a collection in degrees; all the world if not told.

    Across the antimeridian east is above 180.
    """
    try:
        box = [float(side) for side in document["extent"]["spatial"]["bbox"][0]]
    except (KeyError, IndexError, TypeError, ValueError):
        box = []
    half = len(box) // 2
    if half < 2:  # noqa: PLR2004 - longitude and latitude
        return -180.0, -85.0, 180.0, 85.0
    return box[0], box[1], box[half] + (360.0 if box[half] < box[0] else 0.0), box[half + 1]


def on_dashboard(environment: Mapping[str, str]) -> bool:
    """Tell whether a page of Voila runs the notebook: its visitors have no rights of their own."""
    return environment.get("SERVER_SOFTWARE", "").lower().startswith("voila/")


def checked_bounds(bounds: Any) -> list[float]:
    """Return (west, south, east, north) in degrees as a list.

    Raises:
        ArgumentInvalid: they are none.
    """
    try:
        west, south, east, north = (float(side) for side in bounds)
    except (TypeError, ValueError):
        west, south, east, north = 0.0, 0.0, -1.0, -1.0
    if not (-180 <= west < east <= 540 and -90 <= south < north <= 90):  # noqa: PLR2004 - degrees
        raise ArgumentInvalid(f"Bounds are (west, south, east, north) in degrees, not {bounds!r}.")
    return [west, south, east, north]


def _asset(name: Any) -> dict[str, Any]:
    """Return a file of ours that a screen loads later.

    Raises:
        ArgumentInvalid: screens load no such file.
    """
    if name not in ASSETS:
        raise ArgumentInvalid(f"Screens load {', '.join(ASSETS)}, not {name!r:.60}.")
    loaded: dict[str, Any] = json.loads(browser.file(str(name)).read_text(encoding="utf-8"))
    return loaded
