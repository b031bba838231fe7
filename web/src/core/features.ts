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
import TileGrid from "ol/tilegrid/TileGrid";

import { type Backend, type Bounds, type Legend, inWords } from "./backend";
import { MapLayer, VECTOR_COLOR } from "./layer";
import { projectionOf } from "./projections";
import type { FeaturesState } from "./state";

const SIZE = 512, DEEPEST = 22, ERROR = 3;
const MERCATOR = "EPSG:3857";
/** Half the edge of zoom 0 in other planes, as the computing side has it: units of the plane, or degrees. */
const HALF = 2 ** 26, HALF_TURN = 180;

const NO_CODE = "Features of a collection are not drawn in this projection, as EPSG has no code for it. Choose another one under Basemap and projection.";

/** Which tile: `matrix` names the pyramid. */
export type TilePlace = { matrix: string; z: number; x: number; y: number };

interface Pyramid {
  /** As the computing side calls it. */
  matrix: string;
  projection: string;
  grid: TileGrid;
}

const WEB: Pyramid = { matrix: "WebMercatorQuad", projection: MERCATOR, grid: createXYZ({ tileSize: SIZE, maxZoom: DEEPEST }) };

/** What covers a plane; null for one that EPSG has no code for. */
export function pyramidOf(code: string): Pyramid | null {
  if (code === MERCATOR) return WEB;
  if (!/^EPSG:[1-9]\d{0,5}$/.test(code)) return null;
  const half = projectionOf(code).getUnits() === "degrees" ? HALF_TURN : HALF;
  const resolutions = Array.from({ length: DEEPEST + 1 }, (_, z) => (2 * half) / SIZE / 2 ** z);
  const grid = new TileGrid({ extent: [-half, -half, half, half], origin: [-half, half], resolutions, tileSize: SIZE });
  return { matrix: code.replace(":", "-"), projection: code, grid };
}

/**
 * Vector tiles in one plane.
 *
 * @param load gives a tile; nothing where there are no features.
 * @param told what is wrong with the tile that came last; null: nothing.
 */
export function vectorTiles(
  load: (place: TilePlace) => Promise<ArrayBuffer>, told: (error: unknown) => void, { matrix, projection, grid } = WEB,
): VectorTileSource {
  const read = async (tile: VectorTile<never>, extent: number[], featureProjection: Projection) => {
    const [z, x, y] = tile.getTileCoord() as [number, number, number];
    try {
      const content = await load({ matrix, z, x, y });
      tile.setFeatures(tile.getFormat().readFeatures(content, { extent, featureProjection }) as never[]);
      told(null);
    } catch (error) {
      told(error);
      (tile as Tile).setState(ERROR);
    }
  };
  return new VectorTileSource({
    format: new MVT({ idProperty: "", layerName: "_layer" }), projection, tileGrid: grid, transition: 0,
    tileUrlFunction: ([z, x, y]) => `${z}/${x}/${y}`,
    tileLoadFunction: (tile) => {
      const one = tile as VectorTile<never>;
      one.setLoader((extent, _, plane) => void read(one, extent, plane));
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
  #plane = "";

  constructor(readonly backend: Backend, state: FeaturesState) {
    super(state);
    this.#given = state;
    this.ol = new VectorTileLayer({ style: featureStyle(this.#color), ...this.shown });
    this.setProjection(MERCATOR);
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

  setProjection(code: string): void {
    if (code === this.#plane) return;
    this.#plane = code;
    // What is still on its way belongs to the plane that was.
    const told = (error: unknown) => code === this.#plane && this.setError(error === null ? null : inWords(error));
    const pyramid = pyramidOf(code);
    this.ol.setSource(pyramid && vectorTiles((place) => this.#load(place), told, pyramid));
    this.setError(pyramid ? null : NO_CODE);
  }

  get #color(): string {
    return this.#given.color ?? VECTOR_COLOR;
  }

  async #load(place: TilePlace): Promise<ArrayBuffer> {
    const { blob } = await this.backend.picture("features", this.#given.source, place);
    return blob.arrayBuffer();
  }
}
