/** Tiles of one layer: asked for when they are wanted, given up when they are not any more. */

import { getWidth, intersects } from "ol/extent";
import ImageTileSource from "ol/source/ImageTile";
import type { TileSourceEvent } from "ol/source/Tile";
import TileGrid from "ol/tilegrid/TileGrid";
import { createXYZ } from "ol/tilegrid";
import TileState from "ol/TileState";

import {
  type About, type Bounds, type Look, type NativeGrid, type Picture, isAbort,
} from "./backend";
import { fromDegrees, projectionOf } from "./projections";

/** What the map shows: tiles elsewhere, or of other levels, are not wanted. */
export interface Wanted {
  extent: Bounds;
  resolution: number;
}

type TileParams =
  | { matrix: string; z: number; x: number; y: number; look: Look; format: "png" }
  | { bounds: Bounds; crs: string; width: number; height: number; look: Look };

export interface Tiling {
  grid: TileGrid;
  projection: string;
  /** Name of the tile matrix set; null: pictures of places, which any plane can be covered with. */
  matrix: string | null;
}

interface Options extends Tiling {
  look: Look;
  ask: (params: TileParams, signal: AbortSignal) => Promise<Picture>;
  came: () => void;
  /** What is wrong with tiles that are wanted: told when that changes; null: nothing. */
  failed: (error: unknown) => void;
}

interface Place {
  z: number;
  extent: Bounds;
}

/**
 * Return how a map in some projection is covered with tiles of a layer: in Web Mercator and in the
 * layer's own CRS by its tile matrices, else by pictures that are computed in that projection.
 */
export function tilesFor(about: About, code: string): Tiling {
  const { native } = about;
  if (code === "EPSG:3857") {
    const extent = about.bounds && fromDegrees(about.bounds, code);
    const grid = createXYZ({ maxZoom: Math.min(about.maxzoom ?? 22, 24), minZoom: 0 });
    const options = extent?.every(Number.isFinite)
      ? { extent: clippedTo(fromDegrees([-180, -90, 180, 90], code), extent) }
      : {};
    return {
      matrix: "WebMercatorQuad", projection: code,
      grid: new TileGrid({
        origin: grid.getOrigin(0), resolutions: grid.getResolutions(), tileSize: 256, ...options,
      }),
    };
  }
  if (native?.crs === code && isSquare(native)) {
    return {
      matrix: "native", projection: code,
      grid: new TileGrid({
        origin: native.origin, resolutions: native.resolutions, tileSize: native.tile_size,
        extent: native.extent,
      }),
    };
  }
  const plane = projectionOf(code).getExtent() as Bounds;
  const edge = Math.max(plane[2] - plane[0], plane[3] - plane[1]) / 256;
  return {
    matrix: null, projection: code,
    grid: new TileGrid({
      origin: [plane[0], plane[3]], tileSize: 256, extent: plane,
      resolutions: Array.from({ length: 22 }, (_, z) => edge / 2 ** z),
    }),
  };
}

/** Tiles of oblong pixels have no place in a grid of OpenLayers. */
function isSquare({ pixel }: NativeGrid): boolean {
  return !pixel || Math.abs(Math.abs(pixel[0] / pixel[1]) - 1) < 1e-9;
}

function clippedTo(whole: Bounds, part: Bounds): Bounds {
  return [
    Math.max(whole[0], part[0]), Math.max(whole[1], part[1]),
    Math.min(whole[2], part[2]), Math.min(whole[3], part[3]),
  ];
}

export class TileSource extends ImageTileSource {
  /** Metres a pixel that the tiles that came last were computed at. */
  resolution: number | null = null;
  readonly #options: Options;
  readonly #underway = new Map<AbortController, Place>();
  /** Tiles that could not be had, and why: they stay blank. */
  readonly #blank = new Map<string, Place & { error: unknown }>();
  #wanted: Wanted | null = null;
  #told: unknown = null;

  constructor(options: Options) {
    super({
      tileGrid: options.grid, projection: options.projection, transition: 0, interpolate: false,
      wrapX: options.projection === "EPSG:3857",
      loader: () => Promise.reject(new Error("shown before it was known how")),
    });
    this.#options = options;
    this.on("tileloaderror", (event) => forget(event));
    this.show(options.look);
  }

  /** Show the same tiles differently; the old ones stay until the new ones are there. */
  show(look: Look): void {
    this.abort();
    this.#blank.clear();
    this.#told = null;
    this.setLoader((z, x, y) => this.#load(look, z, x, y));
    this.setKey(JSON.stringify(look));
  }

  abort(): void {
    for (const controller of this.#underway.keys()) controller.abort();
  }

  keepOnly(wanted: Wanted): void {
    this.#wanted = wanted;
    for (const [controller, tile] of this.#underway) {
      if (!this.#isWanted(tile)) controller.abort();
    }
    this.#tell();
  }

  #isWanted({ z, extent }: Place): boolean {
    if (!this.#wanted) return true;
    const { grid, projection } = this.#options;
    if (z !== grid.getZForResolution(this.#wanted.resolution, this.zDirection)) return false;
    const [left, bottom, right, top] = extent;
    // What lies in one world is seen in those beside it, too.
    const worlds = this.getWrapX() ? [-1, 0, 1] : [0];
    const world = getWidth(projectionOf(projection).getExtent());
    return worlds.some((n) => intersects(
      [left + n * world, bottom, right + n * world, top], this.#wanted!.extent,
    ));
  }

  #tell(): void {
    const blank = [...this.#blank.values()].findLast((tile) => this.#isWanted(tile));
    const error = blank?.error ?? null;
    if (error === this.#told) return;
    this.#told = error;
    this.#options.failed(error);
  }

  async #load(look: Look, z: number, x: number, y: number): Promise<ImageBitmap> {
    const { grid, matrix, projection, ask, came } = this.#options;
    const bounds = grid.getTileCoordExtent([z, x, y]) as Bounds;
    const controller = new AbortController();
    const key = [z, x, y].join();
    this.#underway.set(controller, { z, extent: bounds });
    try {
      const params: TileParams = matrix
        ? { matrix, z, x, y, look, format: "png" }
        : { bounds, crs: projection, width: 256, height: 256, look };
      const { blob, resolution } = await ask(params, controller.signal);
      const image = await createImageBitmap(blob);
      this.resolution = resolution;
      this.#blank.delete(key);
      came();
      return image;
    } catch (error) {
      if (!controller.signal.aborted && !isAbort(error)) {
        this.#blank.set(key, { z, extent: bounds, error });
      }
      throw error;
    } finally {
      this.#underway.delete(controller);
      this.#tell();
    }
  }
}

/** A tile that was given up is as if it had never been asked for, so that it can be again. */
function forget(event: TileSourceEvent): void {
  const { tile } = event;
  const error = "getError" in tile ? (tile as { getError: () => unknown }).getError() : null;
  // After everybody has heard of the failure: the queue counts what is under way by it.
  if (isAbort(error)) queueMicrotask(() => tile.setState(TileState.IDLE));
}
