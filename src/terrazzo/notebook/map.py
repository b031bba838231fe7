"""`terrazzo.Map`: a map in a notebook that computes what it shows as somebody looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.notebook.map_answers import inspected_frame, json_of, profile_frame
from terrazzo.notebook.map_layer import (
    MapLayer,
    Opened,
    checked_opacity,
    date_for,
    with_date,
)
from terrazzo.notebook.map_looks import look_of
from terrazzo.notebook.map_picture import save_picture
from terrazzo.notebook.map_places import last_of, one_geometry
from terrazzo.notebook.map_saving import save_cog
from terrazzo.notebook.map_screens import LayerGone
from terrazzo.notebook.map_sources import OfGraph, shown_of
from terrazzo.notebook.map_widget import HEIGHT, SCRATCH, MapWidget, checked_bounds
from terrazzo.progress import Progress

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from terrazzo.notebook.map_looks import Colors, Stretch
    from terrazzo.notebook.map_state import Patch


class Map(MapWidget):
    """A map of whatever has pixels or features, computed in this kernel as somebody looks at it.

    It is a widget: show it as the last line of a cell, or put it into boxes of ipywidgets.
    Changes of `time`, `bounds` (west, south, east, north of what is in view), `drawn` (a
    GeoDataFrame) and `inspected` (a DataFrame) can be observed, as those of any widget; the first
    three can be set.
    """

    def __init__(
        self,
        connection: Any = None,
        *,
        home: str | os.PathLike[str] | None = None,
        crs: str | int = "EPSG:3857",
        centre: tuple[float, float] | None = None,
        zoom: float | None = None,
        basemap: str = "natural-earth",
        height: int = HEIGHT,
        direct: bool | None = None,
    ) -> None:
        """Make a map without layers.

        Args:
            connection: of the openEO client, to whose server names of collections and graphs
                belong; without one they are computed here, of the files in `home`.
            home: folder of the catalogue; without one that of the command `terrazzo`.
            crs: in which the map is drawn; any that PROJ knows.
            centre: longitude and latitude.
            zoom: as in Web Mercator: 0 shows the world, 14 a town.
            basemap: `natural-earth` (needs no network), `none`, or one of those on line that the
                map's menu offers.
            height: CSS pixels.
            direct: whether browsers that reach the server of a connection may ask it for tiles
                themselves; with True everybody who has the page open gets the connection's token.
                By default they may where the connection has none, except on a page of Voila.

        Raises:
            ArgumentInvalid: the CRS is none.
            BundleMissing: Terrazzo was copied and not installed.
        """
        view: dict[str, Any] = {}
        if centre is not None:
            view = {"centre": [float(one) for one in centre], "zoom": 9.0}
        if zoom is not None:
            view["zoom"] = float(zoom)
        super().__init__(connection, home, crs, view, basemap, height, direct)

    def add(
        self,
        thing: Any,
        name: str = "",
        stretch: Stretch | None = None,
        colors: Colors | None = None,
        *,
        bands: str | Sequence[str] | None = None,
        time: object = None,
        gamma: float | None = None,
        opacity: float = 1.0,
        visible: bool = True,
        fit: bool | None = None,
        crs: str = "",
        layers: str = "",
        color: str = "",
        attribution: str = "",
    ) -> MapLayer:
        """Put something on top of the map.

        Args:
            thing: a cube of the openEO client; a process graph, as a dict or a `.json` file; the
                name of a collection; a file of an image or of features; an array or dataset of
                xarray; a GeoDataFrame, geometry or GeoJSON; the address of tiles
                (`https://.../{z}/{x}/{y}.png`) or of a WMS.
            name: for the list of layers.
            stretch: (low, high), the values of the first and the last colour, or such a pair for
                each of three bands; or `percentile`, `sd` or `minmax` of what is in view.
            colors: of one band: the name of a colour map (those of matplotlib, `_r` reverses),
                (value, colour) pairs, or classes, {value: colour} or {value: (colour, label)}.
            bands: one, or three as red, green and blue.
            time: date that is shown; that of the map, or the last one, if none is given.
            gamma: above 1 the middle is brighter.
            opacity: from 0, not seen, to 1.
            visible: whether it is shown.
            fit: whether the map goes there; by default with the first layer.
            crs: of a file or array that does not say.
            layers: of a WMS, with commas between.
            color: of lines and points of features.
            attribution: who is to be named beside tiles of others.

        Returns:
            The layer, to change or remove it.

        Raises:
            ThingUnknown: it is none of these.
            TerrazzoError: it cannot be shown; the message says why.
        """
        shown = shown_of(thing, SCRATCH, crs=crs, layers=layers)
        if isinstance(shown, OfGraph):
            shown = self._features(shown) or shown
        key = f"layer-{next(self._keys)}"
        common = {"key": key, "visible": bool(visible), "opacity": checked_opacity(opacity)}
        look = look_of(time=time, bands=bands, stretch=stretch, gamma=gamma, colors=colors)
        opened, members = None, dict[str, Any]()
        if isinstance(shown, OfGraph):
            opened = self._open(shown, name or shown.title)
            source = {"layer": opened.about["id"], "process_graph": dict(shown.graph)}
            look = with_date(look, opened.about["dates"])
            date = None if self.time is None else date_for(opened.about["dates"], self.time)
            look = {"time": date, **look} if date else look
            members = {"kind": "raster", "source": source, "look": look}
            bounds = opened.about.get("bounds")
        else:
            if look:
                raise ArgumentInvalid(
                    f"{', '.join(look)}: only what is computed has it. Features have `color`."
                )
            members, bounds = dict(shown.members), shown.bounds
            members |= {"color": color} if color else {}
            members |= {"attribution": attribution} if attribution else {}
        title = name or shown.title or f"Layer {len(self.state['layers']) + 1}"
        members |= common | {"name": title}
        patch: Patch = {"layers": {"set": {key: members}}}
        if bounds and (fit or (fit is None and not self._placed)):
            patch["extra"] = {**self.state["extra"], "fit": list(bounds)}
            self._placed = True
        self._layers[key] = MapLayer(self, key, opened)
        self._change(patch)
        return self._layers[key]

    @property
    def layers(self) -> tuple[MapLayer, ...]:
        """The layers, the lowest first."""
        return tuple(self._layers[layer["key"]] for layer in self.state["layers"])

    def layer(self, layer: MapLayer | str | None = None) -> MapLayer:
        """Return a layer by its name; without one the topmost that is computed.

        Raises:
            LayerGone: there is none.
        """
        found = self.layers
        if isinstance(layer, MapLayer):
            match = [one for one in found if one is layer]
        elif layer is None:
            match = [one for one in found if one.opened is not None]
        else:
            match = [one for one in found if one.name == layer]
        if not match:
            names = tuple(one.name for one in found)
            wanted = (
                "Nothing on the map is computed."
                if layer is None
                else (f"There is no layer {layer!r} on the map.{suggest(str(layer), names)}")
            )
            raise LayerGone(f"{wanted} Layers: {', '.join(names) or 'none'}.")
        return match[-1]

    def remove(self, *layers: MapLayer | str) -> None:
        """Take layers off the map; without one, all of them.

        Raises:
            LayerGone: one is not on it.
        """
        gone = {self.layer(one).key for one in layers} or {one.key for one in self.layers}
        patch: Patch = {"layers": {"gone": sorted(gone)}}
        swipe = self.state["swipe"]
        if swipe and gone & {*swipe["left"], *swipe["right"]}:
            patch["swipe"] = None
        self._change(patch)
        self._let_go()

    def order(self, *layers: MapLayer | str) -> None:
        """Put layers above all others, the last one highest.

        Raises:
            LayerGone: one is not on the map.
        """
        above = [self.layer(one).key for one in layers]
        rest = [one["key"] for one in self.state["layers"] if one["key"] not in above]
        self._change({"layers": {"order": [*rest, *above]}})

    def swipe(
        self,
        left: MapLayer | str | Sequence[MapLayer | str] | None = None,
        right: MapLayer | str | Sequence[MapLayer | str] | None = None,
        *,
        position: float = 0.5,
    ) -> None:
        """Show layers on either side of a line that can be pulled; without any, end that.

        Args:
            left: shown left of the line only.
            right: shown right of it only.
            position: of the line, from 0 (left edge) to 1.

        Raises:
            LayerGone: one is not on the map.
        """
        sides = {
            "left": [self.layer(one).key for one in _listed(left)],
            "right": [self.layer(one).key for one in _listed(right)],
        }
        told = {"mode": "swipe", "position": min(max(float(position), 0.0), 1.0), **sides}
        self._change({"swipe": told if sides["left"] or sides["right"] else None})

    def link(self, *others: Map) -> Map:
        """Let other maps show the same place, whichever of them is moved.

        Returns:
            This map.
        """
        known = [one.state["extra"].get("link") for one in (self, *others)]
        name = next((one for one in known if one), None) or f"link-{self.model_id}"
        for one in (self, *others):
            one._change({"extra": {**one.state["extra"], "link": name}})  # noqa: SLF001 - its own kind
        return self

    def profile(
        self,
        geometry: Any = None,
        *,
        layer: MapLayer | str | None = None,
        bands: Sequence[str] | None = None,
        statistic: str = "mean",
        smooth: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return what a layer has at a place on all its dates.

        Args:
            geometry: point, line or polygon in degrees: of shapely, GeoJSON or a GeoDataFrame; the
                last one that was drawn, if none is given.
            layer: the topmost that is computed, if none is named.
            bands: all of them, if none are named.
            statistic: `mean` or `median` of the pixels in a polygon.
            smooth: how `smoothed` is made, e.g. `{"method": "whittaker"}`.

        Returns:
            A row for each date and band; `attrs["resolution"]` is that of the pixels, metres.

        Raises:
            NothingDrawn: no geometry was given, and none is drawn.
            LayerGone: there is no such layer.
            TerrazzoError: there is no answer.
        """
        opened = self._opened(layer)
        shape = last_of(self.drawn) if geometry is None else one_geometry(geometry)
        asked: dict[str, Any] = {"geometry": shape, "statistic": statistic}
        asked |= {"bands": list(bands)} if bands else {}
        asked |= {"smooth": dict(smooth)} if smooth else {}
        return profile_frame(self._asked("profile", opened, asked))

    def values(
        self, longitude: float, latitude: float, *, layer: MapLayer | str | None = None
    ) -> pd.DataFrame:
        """Return what a layer has in the pixel at a place: a row for each date and band.

        Args:
            longitude: degrees.
            latitude: degrees.
            layer: the topmost that is computed, if none is named.

        Raises:
            LayerGone: there is no such layer.
            TerrazzoError: there is no answer.
        """
        held = self.layer(layer)
        asked = {"lon": float(longitude), "lat": float(latitude), "dates": "all"}
        answered = self._asked("values", self._opened(held), asked)
        return inspected_frame([{"name": held.name, "values": answered}])

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        layer: MapLayer | str | None = None,
        bounds: tuple[float, float, float, float] | None = None,
        all_dates: bool = False,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Save what is in view: the numbers at native resolution (.tif), or a picture (.png).

        Args:
            path: `.tif` is made by a run, or by a job where a server computes the layer; `.png`
                has all visible layers that are computed, as they look, 2048 pixels wide.
            layer: whose numbers are saved; the topmost that is computed, if none is named.
            bounds: (west, south, east, north) in degrees, in place of what is in view.
            all_dates: whether a `.tif` of every date is made and not of that which is shown.
            progress: is told how far it is, and may stop it.

        Returns:
            The files; several where there are several dates, their names ending in these.

        Raises:
            ArgumentInvalid: the name ends in something else, or nothing is known to be in view.
            LayerGone: there is no such layer.
            TerrazzoError: it cannot be computed or written.
        """
        target = Path(path).expanduser()
        place = checked_bounds(bounds) if bounds else self.bounds
        if target.suffix.lower() not in {".tif", ".tiff", ".png"}:
            raise ArgumentInvalid(f"{target.name}: a map is saved as .tif (numbers) or .png.")
        if place is None:
            raise ArgumentInvalid(
                "Nobody has looked at this map, so nothing is in view: give bounds=(west, south, "
                "east, north)."
            )
        if target.suffix.lower() == ".png":
            visible = [one for one in self.layers if one.opened is not None and one.visible]
            projection = self.state["view"]["projection"]
            return [save_picture(target, visible, place, projection)]
        held = self.layer(layer)
        return save_cog(
            target,
            self._opened(held),
            place,
            held.look.get("time"),
            all_dates=all_dates,
            progress=progress or Progress(),
        )

    def _opened(self, layer: MapLayer | str | None) -> Opened:
        """Return where a layer is computed.

        Raises:
            LayerGone: there is no such layer.
            ArgumentInvalid: it is not computed.
        """
        held = self.layer(layer)
        if held.opened is None:
            raise ArgumentInvalid(f"{held.name!r} is no raster, so it has no values.")
        return held.opened

    def _asked(self, method: str, opened: Opened, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a layer answers in this very cell."""
        return json_of(opened.screen.ask(method, opened.id, params, Progress()))


def _listed(layers: MapLayer | str | Sequence[MapLayer | str] | None) -> Sequence[MapLayer | str]:
    if layers is None:
        return ()
    return (layers,) if isinstance(layers, MapLayer | str) else layers
