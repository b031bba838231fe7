/** A map of vector tiles: what a collection of geometries holds. */
import type { Geometry } from "geojson";
import type { FeatureLike } from "ol/Feature";
import VectorTileLayer from "ol/layer/VectorTile";
import type VectorTileSource from "ol/source/VectorTile";
import CircleStyle from "ol/style/Circle";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import { assetsBeside, Basemap } from "../../core/basemap";
import { h } from "../../core/dom";
import { type TilePlace, featureStyle, vectorTiles } from "../../core/features";
import { VectorLayer } from "../../core/layer";
import { MapView } from "../../core/map";
import { fetched, words } from "../../http/server";
import { nothing } from "../../http/backend";
import { collectionOf, type Box } from "../bounds";
import { colour, mapTools, scrollPast } from "../footprints";

const HIT = 5;
/** Milliseconds without a new frame. */
const SETTLED = 250;

export interface FeatureMapOptions {
  /** The address of a tile. */
  address: (zoom: number, row: number, column: number) => URL;
  /** The colour of a feature, #rrggbb. */
  colour: (feature: FeatureLike) => string;
  isChosen: (feature: FeatureLike) => boolean;
  onpick: (feature: FeatureLike | null) => void;
  /** Told a moment after something was drawn. */
  ondrawn: () => void;
}

export class FeatureMap {
  readonly host = h("div", { class: "map tiles", role: "group" });
  readonly view: MapView;
  whole: Box = [-180, -60, 180, 75];
  readonly #layer: VectorTileLayer;
  readonly #source: VectorTileSource;
  readonly #found: VectorLayer;
  /** What is to be seen when the map gets its size, or another one. */
  #fitted: Box | null = null;
  readonly #state = h("p", { class: "state", role: "status" });

  constructor(about: string, options: FeatureMapOptions) {
    this.host.setAttribute("aria-label", `${about} Arrow keys move it, plus and minus zoom.`);
    this.view = new MapView(this.host, nothing);
    void new Basemap(this.view, assetsBeside(import.meta.url)).show("natural-earth");
    const load = async ({ z, x, y }: TilePlace) => (await fetched(options.address(z, y, x), { cache: "default" })).arrayBuffer();
    this.#source = vectorTiles(load, (error) => { this.#state.textContent = error === null ? "" : words(error); });
    this.#layer = new VectorTileLayer({ source: this.#source, style: (feature) => styleOf(options.colour(feature), options.isChosen(feature), feature) });
    this.view.map.addLayer(this.#layer);
    this.#found = new VectorLayer({ kind: "vector", key: "found", name: "Found", visible: true, opacity: 1, data: collectionOf([]) },
      new Style({ stroke: new Stroke({ color: colour("--pick"), width: 2 }), image: new CircleStyle({ radius: 5, stroke: new Stroke({ color: colour("--pick"), width: 2 }) }) }));
    this.view.add(this.#found);
    scrollPast(this.view);
    this.view.map.on("click", (event) => options.onpick(
      this.view.map.getFeaturesAtPixel(event.pixel, { layerFilter: (layer) => layer === this.#layer, hitTolerance: HIT })[0] ?? null));
    this.view.map.on("rendercomplete", () => { this.host.dataset.loaded = "yes"; });
    // Tiles are drawn anew in several frames, of which any may be the last.
    let later = 0;
    this.view.map.on("postrender", () => {
      clearTimeout(later);
      later = window.setTimeout(() => options.ondrawn(), SETTLED);
    });
    this.view.map.on("pointerdrag", () => { this.#fitted = null; });
    this.view.map.on("change:size", () => { if (this.#fitted) this.fit(this.#fitted); });
    this.host.append(this.#state, mapTools(this.view, () => this.whole));
  }

  fit(box: Box): void {
    this.#fitted = box;
    this.view.fit([box[0], box[1], box[2] < box[0] ? box[2] + 360 : box[2], box[3]]);
  }

  /** West, south, east, north of what is seen. */
  bounds(): Box {
    return this.view.boundsInDegrees() as Box;
  }

  /** Draws all anew: colours have changed. */
  redraw(): void {
    delete this.host.dataset.loaded;
    this.#layer.changed();
  }

  /** Asks for all tiles anew. */
  refetch(): void {
    delete this.host.dataset.loaded;
    this.#source.refresh();
  }

  /** GeoJSON geometries that are drawn on top. */
  showFound(geometries: Geometry[]): void {
    this.#found.data = collectionOf(geometries);
  }
}

function styleOf(hex: string, chosen: boolean, feature: FeatureLike): Style {
  const shown = chosen ? colour("--pick") : hex;
  const style = featureStyle(shown, chosen ? { width: 3, fill: "99", radius: 6 } : {})(feature);
  style.setZIndex(chosen ? 1 : 0);
  return style;
}
