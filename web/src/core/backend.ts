/** What a screen asks of the computing side, over whatever way it is reached. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** (left, bottom, right, top), in the units of a CRS that is named beside it. */
export type Bounds = [number, number, number, number];

export type Method =
  | "open" | "about" | "tile" | "statistics" | "values" | "profile" | "transect" | "picture"
  | "timelapse" | "places" | "legend" | "colormaps" | "features";

/** A picture as it came, and the pixel size in metres that it was computed at. */
export interface Picture {
  blob: Blob;
  resolution: number | null;
}

/** Told how much of something is done. */
export type Progress = (done: number, of: number) => void;

export interface Backend {
  /**
   * Ask for something that is answered as JSON.
   *
   * @param layer id of an opened layer; null for what needs none (`open`, `places`).
   * @throws BackendError in words for people; DOMException "AbortError" when `signal` says so.
   */
  ask<T>(
    method: Method, layer: string | null, params: object, signal?: AbortSignal,
  ): Promise<T>;

  /**
   * Ask for something that is answered as a file: `tile`, `picture`, `timelapse`; and `features`, the
   * vector tile (matrix, z, x, y) of a collection, whose name is given for the layer's.
   */
  picture(
    method: Method, layer: string, params: object, signal?: AbortSignal, progress?: Progress,
  ): Promise<Picture>;
}

/** What the computing side refused or could not do, in its own words. */
export class BackendError extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly status: number = 0,
  ) {
    super(message);
    this.name = "BackendError";
  }
}

/** Whether something ended because nobody wanted it any more: never shown to anybody. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** What is shown to people of anything that was thrown. */
export function inWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export interface ClassOf {
  value: number;
  label: string;
  color: string;
}

export interface Band {
  name: string;
  title?: string | null;
  unit?: string | null;
  common_name?: string | null;
  classes?: { value: number; label: string; color: string | null }[] | null;
}

/** The tile matrix set of the layer's own CRS, level 0 the coarsest. */
export interface NativeGrid {
  crs: string;
  proj4?: string | null;
  wkt?: string | null;
  /** Left and top of the first tile. */
  origin: [number, number];
  /** Across and down. */
  pixel?: [number, number];
  /** Units of the CRS a pixel, one a level. */
  resolutions: number[];
  tile_size: number;
  /** Tiles across and down, one a level. */
  sizes?: [number, number][];
  extent: Bounds;
}

/** The colours of a look and what they mean. */
export type Legend =
  | {
    kind: "range"; min: number; max: number; gamma: number;
    /** At equal steps from `min` to `max`. */
    colors: string[];
    name?: string; stops?: [number, string][];
  }
  | { kind: "classes"; classes: ClassOf[] }
  | { kind: "rgb"; bands: string[]; ranges: [number, number][]; gamma: number };

/** A collection or another origin of what is shown. */
export interface Source {
  id?: string;
  title?: string | null;
  attribution?: string | null;
  licence?: string | null;
}

export interface About {
  id: string;
  title?: string | null;
  kind?: string;
  /** Degrees; null where nothing is known. */
  bounds: Bounds | null;
  native: NativeGrid | null;
  /** RFC 3339 or names of periods, in order; none without a time dimension. */
  dates: string[];
  /** Name of the time dimension. */
  temporal?: string | null;
  bands: Band[];
  /** What values are expected to lie between. */
  range?: [number, number] | null;
  legend?: Legend | null;
  minzoom?: number;
  maxzoom?: number;
  /** Metres, of the finest source. */
  resolution: number | null;
  /** How whoever made it wants it to be shown: of services. */
  look?: Look | null;
  /** Who is to be named beside the picture. */
  sources?: Source[];
  /** What is computed, with all that was filled in; null where it is not for who asks. */
  process?: JsonObject | null;
  /** What is shown by a look that names no bands and no date. */
  shown?: { bands: string[]; time: string | null };
}

export interface Opened extends About {
  id: string;
}

export type StretchKind = "range" | "percentile" | "sd" | "minmax";

/**
 * How values become colours. `low` and `high` are values (range) or percentiles; `low` of sd is how
 * many standard deviations either side of the mean; `per_band` the values that these came to, in
 * the order of the bands.
 * What is sent is always a range: who asks for the same look gets the same pixels.
 */
export interface Stretch {
  kind: StretchKind;
  low?: number;
  high?: number;
  gamma?: number;
  per_band?: [number, number][];
}

export type Colors = string | [number, string][] | { classes: ClassOf[] };

export interface Look {
  time?: string;
  bands?: string[];
  stretch?: Stretch;
  colors?: Colors;
}

export interface BandStatistics {
  name: string;
  unit?: string | null;
  count: number;
  valid: number;
  min: number | null;
  max: number | null;
  mean: number | null;
  sd: number | null;
  /** By "0.5", "1", "2", "5", "25", "50", "75", "95", "98", "99", "99.5". */
  percentiles: Record<string, number | null>;
  histogram: { edges: number[]; counts: number[] };
}

export interface Statistics {
  resolution: number | null;
  bands: BandStatistics[];
}
