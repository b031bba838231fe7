/** A map of vector tiles: what a collection of geometries holds. */
import type { Geometry } from "geojson";
import type { Extent } from "ol/extent";
import type { FeatureLike } from "ol/Feature";
import MVT from "ol/format/MVT";
import VectorTileLayer from "ol/layer/VectorTile";
import type Projection from "ol/proj/Projection";
import VectorTileSource from "ol/source/VectorTile";
import type Tile from "ol/Tile";
import type VectorTile from "ol/VectorTile";
import { createXYZ } from "ol/tilegrid";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import { assetsBeside, Basemap } from "../../core/basemap";
import { h } from "../../core/dom";
import { VectorLayer } from "../../core/layer";
import { MapView } from "../../core/map";
import { fetched, words } from "../../http/server";
import { nothing } from "../../http/backend";
import { collectionOf, type Box } from "../bounds";
import { colour, mapTools, scrollPast } from "../footprints";

const SIZE = 512, DEEPEST = 22, HIT = 5, ERROR = 3;
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
    this.#source = new VectorTileSource({
      format: new MVT({ idProperty: "" }), tileGrid: createXYZ({ tileSize: SIZE, maxZoom: DEEPEST }),
      tileUrlFunction: ([z, x, y]) => options.address(z!, y!, x!).href,
      tileLoadFunction: (tile, url) => this.#load(tile as VectorTile<never>, url),
    });
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

  #load(tile: VectorTile<never>, url: string): void {
    const read = async (extent: Extent, projection: Projection) => {
      try {
        const answer = await fetched(url, { cache: "default" });
        const content = answer.status === 204 ? new ArrayBuffer(0) : await answer.arrayBuffer();
        tile.setFeatures(tile.getFormat().readFeatures(content, { extent, featureProjection: projection }) as never[]);
        this.#state.textContent = "";
      } catch (error) {
        this.#state.textContent = words(error);
        (tile as Tile).setState(ERROR);
      }
    };
    tile.setLoader((extent, _, projection) => void read(extent, projection));
  }
}

function styleOf(hex: string, chosen: boolean, feature: FeatureLike): Style {
  const shown = chosen ? colour("--pick") : hex;
  const stroke = new Stroke({ color: shown, width: chosen ? 3 : 2 });
  const fill = new Fill({ color: `${shown}${chosen ? "99" : "59"}` });
  const point = feature.getGeometry()?.getType().endsWith("Point") ?? false;
  return new Style({
    stroke, fill, zIndex: chosen ? 1 : 0,
    ...(point && { image: new CircleStyle({ radius: chosen ? 6 : 4, fill: new Fill({ color: shown }) }) }),
  });
}
