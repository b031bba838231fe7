/** Features of a collection that may have millions: vector tiles, thinned where they are smaller than can be seen. */

import type { FeatureLike } from "ol/Feature";
import MVT from "ol/format/MVT";
import VectorTileLayer from "ol/layer/VectorTile";
import type Projection from "ol/proj/Projection";
import VectorTileSource from "ol/source/VectorTile";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import type Tile from "ol/Tile";
import type VectorTile from "ol/VectorTile";
import { createXYZ } from "ol/tilegrid";

import { type Backend, type Bounds, type Legend, inWords } from "./backend";
import { MapLayer, VECTOR_COLOR } from "./layer";
import type { FeaturesState } from "./state";

const SIZE = 512, DEEPEST = 22, ERROR = 3;
const PLANE = "EPSG:3857";

export type TilePlace = { z: number; x: number; y: number };

/**
 * Vector tiles in Web Mercator.
 *
 * @param load gives a tile; nothing where there are no features.
 * @param told what is wrong with the tile that came last; null: nothing.
 */
export function vectorTiles(load: (place: TilePlace) => Promise<ArrayBuffer>, told: (error: unknown) => void): VectorTileSource {
  const read = async (tile: VectorTile<never>, extent: number[], projection: Projection) => {
    const [z, x, y] = tile.getTileCoord() as [number, number, number];
    try {
      const content = await load({ z, x, y });
      tile.setFeatures(tile.getFormat().readFeatures(content, { extent, featureProjection: projection }) as never[]);
      told(null);
    } catch (error) {
      told(error);
      (tile as Tile).setState(ERROR);
    }
  };
  return new VectorTileSource({
    format: new MVT({ idProperty: "", layerName: "_layer" }), tileGrid: createXYZ({ tileSize: SIZE, maxZoom: DEEPEST }), transition: 0,
    tileUrlFunction: ([z, x, y]) => `${z}/${x}/${y}`,
    tileLoadFunction: (tile) => {
      const one = tile as VectorTile<never>;
      one.setLoader((extent, _, projection) => void read(one, extent, projection));
    },
  });
}

/** How a feature is drawn: a line around it, and a fill that lets through what lies below. */
export function featureStyle(color: string, { width = 2, fill = "59", radius = 4 } = {}): (feature: FeatureLike) => Style {
  const area = new Style({ stroke: new Stroke({ color, width }), fill: new Fill({ color: `${color}${fill}` }) });
  const point = new Style({ image: new CircleStyle({ radius, fill: new Fill({ color }) }) });
  return (feature) => (feature.getGeometry()?.getType().endsWith("Point") ? point : area);
}

/** A collection of geometries on a map, as tiles of what can be seen. */
export class FeaturesLayer extends MapLayer {
  readonly kind = "features";
  readonly ol: VectorTileLayer;
  readonly #given: FeaturesState;
  #plane = PLANE;

  constructor(readonly backend: Backend, state: FeaturesState) {
    super(state);
    this.#given = state;
    const source = vectorTiles((place) => this.#load(place), (error) => this.#tell(error));
    this.ol = new VectorTileLayer({ source, style: featureStyle(this.#color), ...this.shown });
  }

  override get bounds(): Bounds | null {
    return this.#given.bounds ?? null;
  }

  override get sources(): string[] {
    return this.#given.attribution ? [this.#given.attribution] : [];
  }

  override state(): FeaturesState {
    return { ...this.#given, ...this.common() };
  }

  override copy(): FeaturesLayer {
    return new FeaturesLayer(this.backend, this.state());
  }

  override legend(): Legend {
    return { kind: "classes", classes: [{ value: 0, label: this.name, color: this.#color }] };
  }

  /** Tiles are of one plane; in others nothing is drawn, and people are told. */
  setProjection(code: string): void {
    this.#plane = code;
    this.ol.setMaxZoom(code === PLANE ? Infinity : -Infinity);
    this.#tell(null);
  }

  get #color(): string {
    return this.#given.color ?? VECTOR_COLOR;
  }

  #tell(error: unknown): void {
    const elsewhere = "Features of a collection are drawn in Web Mercator only: choose it under Basemap and projection.";
    this.setError(this.#plane === PLANE ? (error === null ? null : inWords(error)) : elsewhere);
  }

  async #load(place: TilePlace): Promise<ArrayBuffer> {
    const { blob } = await this.backend.picture("features", this.#given.source, place);
    return blob.arrayBuffer();
  }
}
