/** What lies on a map: rasters that are computed, vectors, and tiles of other services. */

import GeoJSON from "ol/format/GeoJSON";
import type BaseLayer from "ol/layer/Base";
import OlTileLayer from "ol/layer/Tile";
import OlVectorLayer from "ol/layer/Vector";
import TileWMS from "ol/source/TileWMS";
import VectorSource from "ol/source/Vector";
import XYZ from "ol/source/XYZ";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style, { type StyleFunction } from "ol/style/Style";

import type { Bounds, Legend } from "./backend";
import { toDegrees } from "./projections";
import type { LayerState, VectorState, WmsState, XyzState } from "./state";

export type LayerChange = "shown" | "look" | "legend" | "data" | "resolution" | "error";

/** What every layer of a map has. `ol` is what OpenLayers draws. */
export abstract class MapLayer {
  abstract readonly kind: LayerState["kind"];
  abstract readonly ol: BaseLayer;
  readonly key: string;
  #name: string;
  #visible: boolean;
  #opacity: number;
  #side: "left" | "right" | null = null;
  #error: string | null = null;
  readonly #listeners = new Set<(what: LayerChange) => void>();

  constructor(state: Pick<LayerState, "key" | "name" | "visible" | "opacity">) {
    this.key = state.key;
    this.#name = state.name;
    this.#visible = state.visible;
    this.#opacity = state.opacity;
  }

  get name(): string {
    return this.#name;
  }

  set name(name: string) {
    this.#name = name;
    this.changed("shown");
  }

  get visible(): boolean {
    return this.#visible;
  }

  set visible(visible: boolean) {
    this.#visible = visible;
    this.ol.setVisible(visible);
    this.changed("shown");
  }

  /** 0 to 1. */
  get opacity(): number {
    return this.#opacity;
  }

  set opacity(opacity: number) {
    this.#opacity = Math.min(1, Math.max(0, opacity));
    this.ol.setOpacity(this.#opacity);
    this.changed("shown");
  }

  /** The side of the swipe's divider that the layer is shown on; null: both. */
  get side(): "left" | "right" | null {
    return this.#side;
  }

  set side(side: "left" | "right" | null) {
    this.#side = side;
    this.ol.changed();
    this.changed("shown");
  }

  /** What went wrong last, in words; null when nothing is wrong. */
  get error(): string | null {
    return this.#error;
  }

  protected setError(error: string | null): void {
    if (error === this.#error) return;
    this.#error = error;
    this.changed("error");
  }

  /** Degrees; null where nothing is known. */
  abstract get bounds(): Bounds | null;

  /** Who is to be named beside the map. */
  get sources(): string[] {
    return [];
  }

  legend(): Legend | null {
    return null;
  }

  /** The map is drawn in another projection from now on. */
  abstract setProjection(code: string): void;

  abstract state(): LayerState;

  /** A layer of another map that shows the same. */
  abstract copy(): MapLayer;

  onChange(listener: (what: LayerChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  protected changed(what: LayerChange): void {
    for (const listener of [...this.#listeners]) listener(what);
  }

  destroy(): void {
    this.#listeners.clear();
    this.ol.dispose();
  }

  protected common(): Pick<LayerState, "key" | "name" | "visible" | "opacity"> {
    return { key: this.key, name: this.name, visible: this.visible, opacity: this.opacity };
  }

  protected get shown(): { visible: boolean; opacity: number } {
    return { visible: this.#visible, opacity: this.#opacity };
  }
}

/** Features in degrees, drawn in the projection of the map. */
export class VectorLayer extends MapLayer {
  readonly kind = "vector";
  readonly ol: OlVectorLayer;
  readonly features = new VectorSource();
  #state: VectorState;
  #projection = "EPSG:3857";

  /** @param style instead of the colour, width and fill of the state. */
  constructor(state: VectorState, style?: StyleFunction | Style) {
    super(state);
    this.#state = state;
    this.ol = new OlVectorLayer({
      source: this.features, style: style ?? plainStyle(state), ...this.shown,
    });
    this.#read();
  }

  override get bounds(): Bounds | null {
    if (this.features.isEmpty()) return null;
    return toDegrees(this.features.getExtent() as Bounds, this.#projection);
  }

  get data(): VectorState["data"] {
    return this.#state.data;
  }

  /** A GeoJSON FeatureCollection in degrees, instead of what was there. */
  set data(data: VectorState["data"]) {
    this.#state = { ...this.#state, data };
    this.#read();
    this.changed("data");
  }

  setProjection(code: string): void {
    if (code === this.#projection) return;
    this.#projection = code;
    this.#read();
  }

  override state(): VectorState {
    return { ...this.#state, ...this.common() };
  }

  override copy(): VectorLayer {
    return new VectorLayer(this.state());
  }

  override legend(): Legend {
    const color = this.#state.color ?? VECTOR_COLOR;
    return { kind: "classes", classes: [{ value: 0, label: this.name, color }] };
  }

  #read(): void {
    const format = new GeoJSON({
      dataProjection: "EPSG:4326", featureProjection: this.#projection,
    });
    this.features.clear(true);
    this.features.addFeatures(format.readFeatures(this.#state.data));
  }
}

/** Of features that have no colour of their own. */
export const VECTOR_COLOR = "#e0559b";

function plainStyle(state: VectorState): Style {
  const color = state.color ?? VECTOR_COLOR;
  const stroke = new Stroke({ color, width: state.width ?? 2 });
  const share = Math.round(255 * (state.fill ?? 0.12)).toString(16).padStart(2, "0");
  const fill = new Fill({ color: `${color}${share}` });
  return new Style({ stroke, fill, image: new CircleStyle({ radius: 5, stroke, fill }) });
}

/** Tiles of somebody else's service: where they lie is not known, and they may not come. */
abstract class ForeignLayer<State extends XyzState | WmsState> extends MapLayer {
  protected readonly given: State;

  constructor(state: State) {
    super(state);
    this.given = state;
  }

  override get bounds(): null {
    return null;
  }

  override get sources(): string[] {
    return this.given.attribution ? [this.given.attribution] : [];
  }

  override state(): State {
    return { ...this.given, ...this.common() };
  }

  protected heed(source: XYZ | TileWMS): void {
    source.on("tileloaderror", () => this.setError(unreached(this.given.url)));
    source.on("tileloadend", () => this.setError(null));
  }
}

/** Tiles of another service in Web Mercator. */
export class XyzLayer extends ForeignLayer<XyzState> {
  readonly kind = "xyz";
  readonly ol: OlTileLayer<XYZ>;

  constructor(state: XyzState) {
    super(state);
    const source = new XYZ({
      url: state.url, minZoom: state.minzoom ?? 0, maxZoom: state.maxzoom ?? 22,
      crossOrigin: "anonymous", transition: 0,
    });
    this.heed(source);
    this.ol = new OlTileLayer({ source, ...this.shown });
  }

  override copy(): XyzLayer {
    return new XyzLayer(this.state());
  }

  setProjection(): void {
    // OpenLayers warps pictures of other services.
  }
}

/** Pictures of a web map service, in whatever projection the map has. */
export class WmsLayer extends ForeignLayer<WmsState> {
  readonly kind = "wms";
  readonly ol: OlTileLayer<TileWMS>;

  constructor(state: WmsState) {
    super(state);
    const source = new TileWMS({
      url: state.url, crossOrigin: "anonymous", transition: 0,
      params: { LAYERS: state.layers, FORMAT: state.format ?? "image/png", TRANSPARENT: true },
    });
    this.heed(source);
    this.ol = new OlTileLayer({ source, ...this.shown });
  }

  override copy(): WmsLayer {
    return new WmsLayer(this.state());
  }

  setProjection(): void {
    // The service is asked for pictures in the map's own projection.
  }
}

function unreached(url: string): string {
  const host = URL.canParse(url) ? new URL(url).host : url;
  return `${host} gives no picture here: it cannot be reached, or has none of this place.`;
}
