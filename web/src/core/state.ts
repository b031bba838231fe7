/** The whole screen as plain JSON: what a shared address holds, and what a notebook keeps. */

import type { FeatureCollection } from "geojson";

import type { Bounds, JsonObject, Look } from "./backend";

export interface ViewState {
  /** Longitude and latitude. */
  centre: [number, number];
  /** As in Web Mercator, whatever the projection: a pixel is 156543 m / 2^zoom. */
  zoom: number;
  projection: string;
}

interface Common {
  /** Names the layer on this screen, and in `swipe`. */
  key: string;
  name: string;
  visible: boolean;
  opacity: number;
}

export interface RasterState extends Common {
  kind: "raster";
  /** What `open` is asked for: a graph with a title. The digest alone might be forgotten. */
  source: JsonObject;
  look: Look;
  /** The date stays, whatever the time slider shows. */
  pinned?: boolean;
}

export interface VectorState extends Common {
  kind: "vector";
  /** A GeoJSON FeatureCollection in degrees. */
  data: FeatureCollection;
  color?: string;
  width?: number;
  fill?: number;
}

/** Features of a collection of geometries, which come as tiles. */
export interface FeaturesState extends Common {
  kind: "features";
  /** What the computing side calls the collection. */
  source: string;
  /** Degrees; null where they are not known. */
  bounds?: Bounds | null;
  color?: string;
  attribution?: string;
}

export interface XyzState extends Common {
  kind: "xyz";
  url: string;
  attribution?: string;
  minzoom?: number;
  maxzoom?: number;
}

export interface WmsState extends Common {
  kind: "wms";
  url: string;
  layers: string;
  attribution?: string;
  format?: string;
}

export type LayerState = RasterState | VectorState | FeaturesState | XyzState | WmsState;

export interface SwipeState {
  /** Both on one map with a divider, or on two maps that move together. */
  mode: "swipe" | "beside";
  /** Share of the map's width that lies left of the divider. */
  position: number;
  /** Keys of the layers that are shown on the left only, and on the right only. */
  left: string[];
  right: string[];
}

export interface ScreenState {
  version: 1;
  view: ViewState;
  /** Name of the basemap; "none" for none. */
  basemap: string;
  /** Bottom first. */
  layers: LayerState[];
  swipe: SwipeState | null;
  /** RFC 3339: the date that layers with dates show. */
  time: string | null;
  /** Belongs to whoever made the screen; kept as it is. */
  extra: JsonObject;
}

export function emptyState(): ScreenState {
  return {
    version: 1,
    view: { centre: [10, 30], zoom: 1.5, projection: "EPSG:3857" },
    basemap: "natural-earth",
    layers: [],
    swipe: null,
    time: null,
    extra: {},
  };
}

/** A shared address held something that is no screen of this version. */
export class StateInvalid extends Error {}

/** Return a screen as a short text for the fragment of an address. */
export async function encodeState(state: ScreenState): Promise<string> {
  const packed = await through(new TextEncoder().encode(JSON.stringify(state)), "compress");
  let text = "";
  for (const byte of packed) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The largest state that is unpacked, bytes: a few kilobytes may say they are gigabytes. */
const LARGEST = 8_000_000;

/** @throws StateInvalid the text is cut off, or not from here. */
export async function decodeState(text: string): Promise<ScreenState> {
  let state: unknown;
  try {
    const packed = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
    state = JSON.parse(new TextDecoder().decode(await through(bytes, "decompress")));
  } catch {
    throw new StateInvalid(
      "The address of this map is incomplete or damaged. Copy all of it, or open the map without "
        + "what follows the #.",
    );
  }
  return validState(state);
}

/** @throws StateInvalid what was given is no screen. */
export function validState(given: unknown): ScreenState {
  const state = given as Partial<ScreenState> | null;
  const view = state?.view;
  if (
    state === null || typeof state !== "object" || state.version !== 1 || !view
    || !Array.isArray(view.centre) || view.centre.length !== 2
    || ![...view.centre, view.zoom].every(Number.isFinite)
    || typeof view.projection !== "string" || !Array.isArray(state.layers)
    || !state.layers.every(isLayer)
  ) {
    throw new StateInvalid("This is no map of this version of Terrazzo.");
  }
  return { ...emptyState(), ...(state as ScreenState) };
}

function isLayer(given: unknown): boolean {
  const layer = given as Partial<LayerState> | null;
  return layer !== null && typeof layer === "object" && typeof layer.key === "string"
    && typeof layer.name === "string"
    && ["raster", "vector", "features", "xyz", "wms"].includes(layer.kind ?? "");
}

async function through(
  bytes: Uint8Array<ArrayBuffer>, way: "compress" | "decompress",
): Promise<Uint8Array> {
  const stream = way === "compress"
    ? new CompressionStream("deflate-raw")
    : new DecompressionStream("deflate-raw");
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > LARGEST) {
      await reader.cancel();
      throw new StateInvalid("too large");
    }
    parts.push(value);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
