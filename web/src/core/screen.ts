/** The whole screen: map, layers, tools and time; its state is plain JSON. */

import { type Assets, Basemap } from "./basemap";
import { type Backend, inWords, isAbort } from "./backend";
import { Compare } from "./compare";
import { fill, h } from "./dom";
import { Drawing } from "./draw";
import { Export, type Exporter } from "./export";
import { Foot } from "./foot";
import { Histogram } from "./histogram";
import { iconButton } from "./icons";
import { Inspect } from "./inspect";
import { type MapLayer, VectorLayer, WmsLayer, XyzLayer } from "./layer";
import { LayerList } from "./layerlist";
import { MapLegend } from "./maplegend";
import { MapPanel } from "./mappanel";
import { MapView } from "./map";
import { Measure } from "./measure";
import { Modes } from "./modes";
import { PictureSaver } from "./picture";
import { Places } from "./places";
import { Profile } from "./profile";
import { RasterLayer } from "./raster";
import { type Panel, Side } from "./side";
import { type LayerState, type RasterState, type ScreenState, emptyState } from "./state";
import { FIRST_STRETCH, stretchToView } from "./stretch";
import { needsStatistics } from "./look";
import { Timelapse } from "./timelapse";
import { Timeline } from "./timeline";
import { Transect } from "./transect";

/** CSS pixels; as in style.css. */
const NARROW = 640;
/** Kinds of layers that have something to tell of a place. */
const ASKED: readonly string[] = ["raster", "vector", "features"];

export interface ScreenOptions {
  /** What opens rasters and finds places. */
  backend: Backend;
  /** What a raster is opened by instead, where layers have different ones. */
  backendFor?: (state: RasterState) => Backend;
  assets: Assets;
  state?: ScreenState;
  /** What runs jobs; without it nothing is exported at native resolution. */
  exporter?: Exporter;
  /** Whether a press on the map asks all layers when no tool is at work. Yes, if not told. */
  pressInspects?: boolean;
}

/** A layer that could not be opened, and why. */
export interface Failed {
  state: LayerState;
  message: string;
}

export class Screen {
  readonly element = h("div", { class: "tz-screen" });
  readonly view: MapView;
  readonly modes: Modes;
  readonly side = new Side();
  readonly basemap: Basemap;
  readonly timeline: Timeline;
  readonly inspect: Inspect;
  readonly drawing: Drawing;
  readonly profile: Profile;
  readonly compare: Compare;
  /** The dialog that starts jobs; null without an exporter. */
  readonly exporting: Export | null;
  readonly #options: ScreenOptions;
  readonly #listeners = new Set<() => void>();
  readonly #parts: { destroy: () => void }[] = [];
  readonly #notice = h("div", { class: "tz-notice", role: "alert", hidden: true });
  #extra: ScreenState["extra"] = {};
  #opening = new AbortController();
  /** Layers that could not be opened: they stay in the state, for the next time. */
  #failed: Failed[] = [];

  constructor(host: HTMLElement, options: ScreenOptions) {
    this.#options = options;
    const state = options.state ?? emptyState();
    const place = h("div", { class: "tz-maps" });
    const map = h("div");
    fill(place, map);
    fill(this.element, place, this.side.element, this.side.rail);
    host.append(this.element);
    this.view = new MapView(map, options.backend, state.view);
    this.modes = new Modes(this.element);
    this.basemap = new Basemap(this.view, options.assets);
    this.timeline = new Timeline(this.view, state.time);
    this.inspect = new Inspect(this.view, this.modes);
    this.drawing = new Drawing(this.view, this.modes);
    this.profile = new Profile(this.view);
    this.exporting = options.exporter ? new Export(this.view, options.exporter) : null;
    this.compare = new Compare(this.view, place, options.assets, () => this.basemap.name);
    this.#furnish(map);
    this.#panels();
    this.#wire();
    void this.show(state);
  }

  // State

  /** The whole screen as plain JSON. */
  get state(): ScreenState {
    const layers = this.view.layers.map((layer) => layer.state());
    return {
      version: 1,
      view: this.view.view,
      basemap: this.basemap.name,
      layers: [...layers, ...this.#failed.map(({ state }) => state)],
      swipe: this.compare.state,
      time: this.timeline.time,
      extra: this.#extra,
    };
  }

  /** What belongs to whoever made the screen. */
  get extra(): ScreenState["extra"] {
    return this.#extra;
  }

  set extra(extra: ScreenState["extra"]) {
    this.#extra = extra;
    this.#changed();
  }

  /** Show another state; resolves when its layers are there or have failed (see `failed`). */
  async show(state: ScreenState): Promise<void> {
    this.#opening.abort();
    this.#opening = new AbortController();
    const { signal } = this.#opening;
    this.#extra = state.extra;
    this.#failed = [];
    try {
      this.view.setView(state.view);
    } catch (error) {
      // A projection that comes with a layer is not known before the layer is.
      this.view.setView({ ...state.view, projection: "EPSG:3857" });
      if (!state.layers.some(({ kind }) => kind === "raster")) this.tell(inWords(error));
    }
    void this.basemap.show(state.basemap);
    for (const layer of [...this.view.layers]) this.view.remove(layer);
    const opened = await Promise.all(state.layers.map((layer) => this.#opened(layer, signal)));
    if (signal.aborted) {
      for (const layer of opened) layer?.destroy();
      return;
    }
    for (const layer of opened) if (layer) this.view.add(layer);
    if (this.view.projection !== state.view.projection) this.#tryProjection(state);
    this.timeline.time = state.time;
    this.compare.state = state.swipe;
    this.#changed();
  }

  /** Layers of the state that could not be opened. */
  get failed(): readonly Failed[] {
    return this.#failed;
  }

  /**
   * Open a layer and put it on top. Its error, if it cannot be opened, is thrown.
   *
   * @param opened called before it is drawn, such as to go where it is.
   */
  async add(
    state: LayerState, signal?: AbortSignal, opened?: (layer: MapLayer) => void,
  ): Promise<MapLayer> {
    const layer = await this.#open(state, signal);
    opened?.(layer);
    this.view.add(layer);
    if (layer instanceof RasterLayer) void this.#stretch(layer);
    return layer;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  addPanel(panel: Panel, at?: number): void {
    this.side.add(panel, at);
  }

  /** Say something over the map, until it is closed. */
  tell(words: string): void {
    this.#notice.hidden = false;
    fill(
      this.#notice, h("span", {}, words),
      iconButton("close", "Close the message", () => (this.#notice.hidden = true)),
    );
  }

  destroy(): void {
    this.#opening.abort();
    this.#listeners.clear();
    for (const part of [...this.#parts].reverse()) part.destroy();
    this.view.destroy();
    this.element.remove();
  }

  // Parts

  #furnish(map: HTMLElement): void {
    const places = new Places(this.view);
    const foot = new Foot(this.view, this.basemap);
    const legend = new MapLegend(this.view);
    const bars = h("div", {}, this.timeline.element, foot.element);
    const bottom = h("div", { class: "tz-bottom" }, legend.element, bars);
    this.view.covered = () => ({ top: 0, bottom: bars.offsetHeight });
    const taller = new ResizeObserver(() => this.view.refit()); // the time bar comes with layers
    taller.observe(bars);
    this.#parts.push({ destroy: () => taller.disconnect() });
    map.append(
      h("div", { class: "tz-progress", "aria-hidden": "true" }),
      h(
        "div", { class: "tz-corner tz-zoom" },
        iconButton("plus", "Zoom in", () => this.view.zoomBy(1)),
        iconButton("minus", "Zoom out", () => this.view.zoomBy(-1)),
        iconButton("find", "Show all layers", () => this.fitAll()),
      ),
      h("div", { class: "tz-place" }, places.element),
      this.#notice,
      bottom,
    );
    this.#parts.push(this.basemap, this.timeline, places, foot, legend, this.compare, this.modes);
  }

  #panels(): void {
    const list = new LayerList(this.view);
    const about = new MapPanel(this.view, this.basemap);
    const measure = new Measure(this.view, this.modes);
    const transect = new Transect(this.view, this.modes);
    const histogram = new Histogram(this.view);
    const saver = new PictureSaver(this.view, () => [this.basemap.attribution].filter(Boolean));
    const lapse = new Timelapse(this.view);
    const { exporting } = this;
    this.#parts.push(
      list, about, measure, transect, histogram, saver, lapse, this.inspect, this.drawing,
      this.profile, ...(exporting ? [exporting] : []),
    );
    this.element.append(lapse.element, ...(exporting ? [exporting.element] : []));
    const opener = (words: string, open: () => void) =>
      h("button", { type: "button", class: "tz-button", onclick: open }, words);
    const charts = h("div", {}, histogram.element, this.profile.element, transect.element);
    let charting = false;
    this.view.onChange((what) => {
      const other = what === "moved" || what === "layers" || what === "layer";
      if (charting && other) histogram.refresh();
      if (what === "layers") {
        this.profile.refresh();
        transect.refresh();
      }
    });
    const panels: Panel[] = [
      { name: "layers", title: "Layers", icon: "layers", element: h("div", {}, list.element) },
      {
        name: "inspect", title: "Values at a place", icon: "inspect",
        element: h("div", {}, this.inspect.button, this.inspect.element),
      },
      {
        name: "draw", title: "Draw and measure", icon: "draw",
        element: h("div", {}, this.drawing.element, measure.element),
      },
      {
        name: "charts", title: "Charts", icon: "chart", element: charts,
        opened: () => {
          charting = true;
          histogram.refresh();
        },
        closed: () => (charting = false),
      },
      { name: "compare", title: "Compare", icon: "compare", element: this.compare.element },
      {
        name: "export", title: "Save and export", icon: "export",
        element: h(
          "div", {}, saver.element, opener("Time-lapse …", () => lapse.open()),
          exporting && opener("Export at native resolution …", () => exporting.open()),
        ),
      },
      { name: "map", title: "Basemap and projection", icon: "map", element: about.element },
    ];
    for (const panel of panels) this.side.add(panel);
    const first = (chart: HTMLElement) => {
      charts.prepend(chart);
      charts.scrollTop = 0;
      this.side.open("charts");
    };
    transect.onshow = () => first(transect.element);
    this.drawing.onchoose = ({ geometry, properties }) => {
      if (!this.view.rasters.length) return;
      if (geometry.type === "LineString") {
        transect.show(geometry);
        return;
      }
      this.profile.show(geometry, properties.name);
      first(this.profile.element);
    };
  }

  #wire(): void {
    this.modes.onchange((name) => {
      // A panel lies over half of a narrow map; what is drawn needs all of it.
      const narrow = this.element.clientWidth < NARROW;
      if (narrow && name !== null && name !== "inspect") this.side.close();
    });
    this.profile.ondate = (date) => {
      this.timeline.time = date;
      this.#changed();
    };
    this.timeline.onchange = () => this.#changed();
    this.compare.onchange = () => this.#changed();
    this.view.onChange((what) => {
      if (what !== "busy") this.#changed();
    });
    if (this.#options.pressInspects === false) return;
    this.view.map.on("singleclick", (event) => {
      const told = this.view.layers.some(({ kind, visible }) => visible && ASKED.includes(kind));
      if (this.modes.name !== null || !told) return;
      void event.coordinate; // worked out now: the panel makes the map narrower
      this.side.open("inspect");
      this.inspect.press(event);
    });
  }

  /** Show all of what all layers have. */
  fitAll(): void {
    const all = this.view.layers.map(({ bounds }) => bounds).filter((bounds) => bounds !== null);
    if (!all.length) {
      this.view.setView({ ...emptyState().view, projection: this.view.projection });
      return;
    }
    this.view.fit([
      Math.min(...all.map(([left]) => left)), Math.min(...all.map(([, bottom]) => bottom)),
      Math.max(...all.map(([, , right]) => right)), Math.max(...all.map(([, , , top]) => top)),
    ]);
  }

  // Layers

  async #opened(state: LayerState, signal: AbortSignal): Promise<MapLayer | null> {
    try {
      return await this.#open(state, signal);
    } catch (error) {
      if (isAbort(error)) return null;
      this.#failed.push({ state, message: inWords(error) });
      this.tell(`"${state.name}" cannot be shown. ${inWords(error)}`);
      return null;
    }
  }

  async #open(state: LayerState, signal?: AbortSignal): Promise<MapLayer> {
    if (state.kind === "vector") return new VectorLayer(state);
    if (state.kind === "xyz") return new XyzLayer(state);
    if (state.kind === "wms") return new WmsLayer(state);
    if (state.kind === "features") {
      const { FeaturesLayer } = await import("./features"); // few maps have any
      return new FeaturesLayer(this.#options.backend, state);
    }
    const backend = this.#options.backendFor?.(state) ?? this.#options.backend;
    return RasterLayer.open(backend, state, signal);
  }

  /** A layer without a stretch, or with one of the view, gets that of what is seen of it. */
  async #stretch(layer: RasterLayer): Promise<void> {
    const { stretch, colors } = layer.look;
    const plain = !stretch && !layer.about.range && layer.legend()?.kind !== "classes"
      && (colors === undefined || typeof colors === "string");
    if (!needsStatistics(stretch) && !plain) return;
    try {
      await stretchToView(this.view, layer, stretch ?? FIRST_STRETCH, this.#opening.signal);
    } catch (error) {
      if (!isAbort(error)) this.tell(inWords(error));
    }
  }

  #tryProjection(state: ScreenState): void {
    try {
      this.view.setView(state.view);
    } catch (error) {
      this.tell(inWords(error));
    }
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Put a screen into an element. */
export function mountScreen(element: HTMLElement, options: ScreenOptions): Screen {
  return new Screen(element, options);
}
