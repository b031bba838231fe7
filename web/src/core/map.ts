/** The map: its plane, its basemap, its layers, and what happens to them. */

import OlMap from "ol/Map";
import View from "ol/View";
import { defaults as defaultControls } from "ol/control/defaults";
import { defaults as defaultInteractions } from "ol/interaction/defaults";
import type BaseLayer from "ol/layer/Base";
import { getCenter } from "ol/extent";

import type { Backend, Bounds } from "./backend";
import type { MapLayer } from "./layer";
import {
  atHome, fromDegrees, pointFromDegrees, pointToDegrees, projectionOf, resolutionAt, toDegrees,
  zoomAt,
} from "./projections";
import { RasterLayer } from "./raster";
import type { ViewState } from "./state";

/** What listeners of a map are told. */
export type MapChange =
  | "moved" // the view is somewhere else, and at rest
  | "layers" // a layer came, went, or changed its place
  | "layer" // a layer is shown differently: visible, opacity, look, error, resolution
  | "projection" // the map is drawn in another plane
  | "basemap" // another basemap lies under the layers
  | "swipe" // the divider, or what lies on either side
  | "busy"; // something began to come, or all is there

/** What the view shows, as the computing side is asked about it. */
export interface Shown {
  /** In the projection of the map. */
  bounds: Bounds;
  crs: string;
  /** CSS pixels. */
  width: number;
  height: number;
}

const BASE = -10;

export class MapView {
  /** The element that the map fills. */
  readonly element: HTMLElement;
  readonly map: OlMap;
  readonly backend: Backend;
  /** CSS pixels of the map that something lies on: what is fitted stays clear of it. */
  covered: () => { top: number; bottom: number } = () => ({ top: 0, bottom: 0 });
  readonly #layers: MapLayer[] = [];
  readonly #ends = new Map<MapLayer, () => void>();
  readonly #listeners = new Set<(what: MapChange) => void>();
  readonly #resized: ResizeObserver;
  #basemap: BaseLayer | null = null;
  /** What was fitted last, and where that put the map. */
  #fitted: { bounds: Bounds; padding: number; at: string } | null = null;
  #busy = true;

  /** @param backend what opens layers that are added by their graph. */
  constructor(element: HTMLElement, backend: Backend, view?: Partial<ViewState>) {
    this.element = element;
    this.backend = backend;
    element.classList.add("tz-map");
    element.setAttribute("aria-busy", "true");
    const target = document.createElement("div");
    target.className = "tz-canvas";
    target.tabIndex = 0;
    target.setAttribute("role", "application");
    target.setAttribute(
      "aria-label", "Map: arrow keys move it, plus and minus change the scale",
    );
    element.append(target);
    this.map = new OlMap({
      target,
      controls: defaultControls({ attribution: false, rotate: false, zoom: false }),
      interactions: defaultInteractions({ altShiftDragRotate: false, pinchRotate: false }),
      maxTilesLoading: 8, // newer ones wait here, where they can be put in order or dropped
    });
    this.setView({ centre: [10, 30], zoom: 1.5, projection: "EPSG:3857", ...view });
    this.map.on("moveend", () => this.changed("moved"));
    this.map.on("postrender", () => this.#dropUnwanted());
    this.map.on("loadstart", () => this.#setBusy(true));
    this.map.on("rendercomplete", () => this.#setBusy(false));
    // A map that was made in a hidden place has no size until it is shown.
    this.#resized = new ResizeObserver(() => this.map.updateSize());
    this.#resized.observe(target);
  }

  // Layers

  /** Bottom first. */
  get layers(): readonly MapLayer[] {
    return this.#layers;
  }

  /** Those whose values can be asked for, bottom first. */
  get rasters(): RasterLayer[] {
    return this.#layers.filter((layer): layer is RasterLayer => layer instanceof RasterLayer);
  }

  layer(key: string): MapLayer | undefined {
    return this.#layers.find((layer) => layer.key === key);
  }

  /** Put a layer on top, or at a place of its own (0 is the bottom). */
  add(layer: MapLayer, at = this.#layers.length): void {
    this.#layers.splice(at, 0, layer);
    layer.setProjection(this.projection);
    this.map.addLayer(layer.ol);
    this.#ends.set(layer, layer.onChange((what) => {
      if (what !== "resolution" && what !== "error" && what !== "legend") this.#renew();
      this.changed("layer");
    }));
    this.#order();
  }

  remove(layer: MapLayer): void {
    const at = this.#layers.indexOf(layer);
    if (at < 0) return;
    this.#layers.splice(at, 1);
    this.#ends.get(layer)?.();
    this.#ends.delete(layer);
    this.map.removeLayer(layer.ol);
    layer.destroy();
    this.#order();
  }

  move(layer: MapLayer, to: number): void {
    const at = this.#layers.indexOf(layer);
    if (at < 0) return;
    this.#layers.splice(at, 1);
    this.#layers.splice(Math.max(0, Math.min(to, this.#layers.length)), 0, layer);
    this.#order();
  }

  #order(): void {
    this.#layers.forEach((layer, i) => layer.ol.setZIndex(i));
    this.changed("layers");
  }

  /** What lies under all layers; it has no name in the list of layers. */
  setBase(layer: BaseLayer | null): void {
    if (this.#basemap) this.map.removeLayer(this.#basemap);
    this.#basemap = layer;
    if (layer) {
      layer.setZIndex(BASE);
      this.map.addLayer(layer);
    }
    this.changed("basemap");
  }

  // The view

  /** Code of the projection that the map is drawn in. */
  get projection(): string {
    return this.map.getView().getProjection().getCode();
  }

  get view(): ViewState {
    const view = this.map.getView();
    const centre = view.getCenter() as [number, number];
    return {
      centre: pointToDegrees(centre, this.projection),
      zoom: zoomAt(view.getResolution() as number, view.getProjection()),
      projection: this.projection,
    };
  }

  /** @throws ProjectionUnknown the map cannot be drawn in `state.projection`. */
  setView(state: ViewState): void {
    const projection = projectionOf(state.projection);
    const before = this.map.getView().getProjection().getCode();
    const centre = pointFromDegrees(state.centre, state.projection);
    const resolution = resolutionAt(state.zoom, projection);
    if (this.map.isRendered() && before === state.projection) {
      this.map.getView().setCenter(centre);
      this.map.getView().setResolution(resolution);
      return;
    }
    this.map.setView(
      new View({
        projection, center: centre, resolution, enableRotation: false,
        maxResolution: resolutionAt(0, projection), minResolution: resolutionAt(23, projection),
        ...(projection.isGlobal() ? { multiWorld: true } : {}),
      }),
    );
    for (const layer of this.#layers) layer.setProjection(state.projection);
    this.changed("projection");
  }

  /** Draw the same place in another projection. */
  setProjection(code: string): void {
    if (code === this.projection) return;
    const { centre, zoom } = this.view;
    this.setView({ centre, zoom, projection: code });
  }

  /** What is seen, in the projection of the map, moved to the world that data lie in. */
  bounds(): Shown {
    const [width = 1, height = 1] = this.map.getSize() ?? [];
    const seen = this.map.getView().calculateExtent([width, height]) as Bounds;
    const bounds = atHome(seen, this.projection);
    return { bounds, crs: this.projection, width: Math.round(width), height: Math.round(height) };
  }

  /** What is seen, in degrees. */
  boundsInDegrees(): Bounds {
    return toDegrees(this.bounds().bounds, this.projection);
  }

  /** Show all of what lies in these bounds (degrees), with some pixels around it. */
  fit(bounds: Bounds, padding = 40): void {
    const extent = fromDegrees(bounds, this.projection);
    if (!extent.every(Number.isFinite)) return;
    if (extent[0] === extent[2] && extent[1] === extent[3]) {
      this.map.getView().setCenter(getCenter(extent));
      this.#fitted = null;
      return;
    }
    const [width = 0, height = 0] = this.map.getSize() ?? [];
    const around = Math.max(0, Math.min(padding, width / 4, height / 4));
    const { top, bottom } = this.covered();
    this.map.getView().fit(extent, {
      padding: [around + top, around, around + bottom, around],
      size: [Math.max(1, width), Math.max(1, height)],
    });
    this.#fitted = { bounds, padding, at: JSON.stringify(this.view) };
  }

  /** Fit again what was fitted last, unless somebody has moved the map since: more of it is covered. */
  refit(): void {
    if (this.#fitted?.at !== JSON.stringify(this.view)) return;
    this.fit(this.#fitted.bounds, this.#fitted.padding);
  }

  zoomBy(levels: number): void {
    this.map.getView().animate({
      zoom: (this.map.getView().getZoom() ?? 0) + levels, duration: calm() ? 0 : 150,
    });
  }

  /** Whether something is on its way that the map does not show yet. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Wait until everything is there that the view wants. */
  async settled(signal?: AbortSignal): Promise<void> {
    while (this.#busy) {
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => this.map.once("rendercomplete", () => resolve()));
    }
    signal?.throwIfAborted();
  }

  onChange(listener: (what: MapChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed(what: MapChange): void {
    if (what === "layers" || what === "projection" || what === "basemap") this.#renew();
    for (const listener of [...this.#listeners]) listener(what);
  }

  destroy(): void {
    this.#resized.disconnect();
    this.#listeners.clear();
    for (const layer of [...this.#layers]) {
      this.#ends.get(layer)?.();
      layer.destroy();
    }
    this.map.setTarget(undefined);
    this.map.dispose();
    this.element.replaceChildren();
  }

  #dropUnwanted(): void {
    const resolution = this.map.getView().getResolution();
    if (resolution === undefined) return;
    const extent = this.bounds().bounds;
    for (const layer of this.rasters) layer.keepOnly({ extent, resolution });
  }

  /** Something is shown differently from the next frame on. */
  #renew(): void {
    this.#setBusy(true);
    this.map.render();
  }

  #setBusy(busy: boolean): void {
    this.element.setAttribute("aria-busy", String(busy));
    if (busy === this.#busy) return;
    this.#busy = busy;
    this.changed("busy");
  }
}

/** Whether somebody asked their system for less movement. */
export function calm(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
