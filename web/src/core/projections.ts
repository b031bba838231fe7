/** The projections a map can be drawn in: Web Mercator, and whatever layers bring. */

import { get as getProjection, transform, transformExtent } from "ol/proj";
import type Projection from "ol/proj/Projection";
import { register } from "ol/proj/proj4";
import proj4 from "proj4";

import type { About, Bounds, NativeGrid } from "./backend";

/** Pixel size at zoom 0 of Web Mercator, in metres of its plane. */
const ZOOM_0 = 156543.03392804097;

export interface ProjectionChoice {
  code: string;
  title: string;
}

interface Known extends ProjectionChoice {
  proj4: string;
  /** The plane that a map of it shows, in its units. */
  extent: Bounds;
}

/** What a plane shows at least beside a layer, metres. */
const ROOM = 2_000_000;

/** Those that are offered without any layer. */
const KNOWN: Known[] = [
  {
    code: "EPSG:3035", title: "Europe, equal area (EPSG:3035)",
    proj4: "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +units=m",
    extent: [1_000_000, 500_000, 7_500_000, 6_500_000],
  },
  {
    code: "EPSG:3995", title: "Arctic, polar (EPSG:3995)",
    proj4: "+proj=stere +lat_0=90 +lat_ts=71 +lon_0=0 +datum=WGS84 +units=m +no_defs",
    extent: [-6_500_000, -6_500_000, 6_500_000, 6_500_000],
  },
  {
    code: "EPSG:3031", title: "Antarctic, polar (EPSG:3031)",
    proj4: "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +datum=WGS84 +units=m +no_defs",
    extent: [-6_500_000, -6_500_000, 6_500_000, 6_500_000],
  },
];

const ALWAYS: ProjectionChoice[] = [
  { code: "EPSG:3857", title: "World, Web Mercator (EPSG:3857)" },
  { code: "EPSG:4326", title: "World, degrees (EPSG:4326)" },
];

/** A projection that this map cannot be drawn in. */
export class ProjectionUnknown extends Error {
  constructor(code: string) {
    super(`This map cannot be drawn in ${code}: nothing tells how it is made. Use EPSG:3857, or `
      + "add a layer that is stored in it.");
  }
}

/** Make the CRS of a layer known; return whether a map can be drawn in it. */
export function registerNative(native: NativeGrid): boolean {
  if (getProjection(native.crs)) return planeOf(native.crs, native.extent) !== null;
  const definition = native.proj4 || native.wkt;
  if (!definition) return false;
  try {
    proj4.defs(native.crs, definition);
    register(proj4);
  } catch {
    return false; // proj4js does not know every projection that PROJ knows
  }
  return planeOf(native.crs, native.extent) !== null;
}

/** @throws ProjectionUnknown no definition of it has come with a layer. */
export function projectionOf(code: string): Projection {
  const known = KNOWN.find((one) => one.code === code);
  if (known && !getProjection(code)) {
    proj4.defs(code, known.proj4);
    register(proj4);
  }
  const projection = planeOf(code, known?.extent ?? null);
  if (!projection) throw new ProjectionUnknown(code);
  return projection;
}

const UTM = /^EPSG:32([67])(\d\d)$/;

/** Return a projection with the plane that maps of it show; without one it is none for maps. */
function planeOf(code: string, seen: Bounds | null): Projection | null {
  const projection = getProjection(code);
  if (!projection || projection.getExtent()) return projection;
  const known = KNOWN.find((one) => one.code === code);
  const utm = UTM.exec(code); // OpenLayers knows them, but not how far they go
  if (known) projection.setExtent(known.extent);
  else if (utm) {
    projection.setExtent(
      utm[1] === "7" ? [100_000, 1_000_000, 900_000, 10_000_000] : [100_000, 0, 900_000, 9_400_000],
    );
  } else if (seen) projection.setExtent(around(seen, projection));
  else return null;
  return projection;
}

/** A layer's extent with room for others beside it. */
function around([left, bottom, right, top]: Bounds, projection: Projection): Bounds {
  const room = Math.max(right - left, top - bottom, ROOM / (projection.getMetersPerUnit() ?? 1));
  const grown: Bounds = [left - room, bottom - room, right + room, top + room];
  if (projection.getUnits() !== "degrees") return grown;
  return [
    Math.max(-180, grown[0]), Math.max(-90, grown[1]),
    Math.min(180, grown[2]), Math.min(90, grown[3]),
  ];
}

/** Return what a map of these layers can be drawn in: each code once. */
export function choices(layers: readonly (About | null)[]): ProjectionChoice[] {
  const found = [...ALWAYS];
  for (const about of layers) {
    const native = about?.native;
    if (native && !found.some((one) => one.code === native.crs) && registerNative(native)) {
      const known = KNOWN.find((one) => one.code === native.crs);
      found.push({ code: native.crs, title: known?.title ?? titleOf(native.crs) });
    }
  }
  for (const { code, title } of KNOWN) {
    if (!found.some((one) => one.code === code)) found.push({ code, title });
  }
  return found;
}

function titleOf(code: string): string {
  const utm = UTM.exec(code);
  if (utm) return `UTM zone ${Number(utm[2])}${utm[1] === "7" ? "S" : "N"} (${code})`;
  return code;
}

/** Units of the projection a pixel, at a zoom level as Web Mercator counts them. */
export function resolutionAt(zoom: number, projection: Projection): number {
  return ZOOM_0 / 2 ** zoom / (projection.getMetersPerUnit() ?? 1);
}

export function zoomAt(resolution: number, projection: Projection): number {
  return Math.log2(ZOOM_0 / (resolution * (projection.getMetersPerUnit() ?? 1)));
}

/** Bounds in degrees as bounds of another plane; the corners and edges are looked at. */
export function fromDegrees(bounds: Bounds, code: string): Bounds {
  const clipped: Bounds = code === "EPSG:3857"
    ? [bounds[0], Math.max(bounds[1], -85.05), bounds[2], Math.min(bounds[3], 85.05)]
    : bounds;
  return transformExtent(clipped, "EPSG:4326", projectionOf(code), 8) as Bounds;
}

/**
 * Return bounds moved by whole worlds, so that their middle lies in the one that data lie in. Maps
 * of the whole world go on beyond its edges and show it again there.
 */
export function atHome(bounds: Bounds, code: string): Bounds {
  const projection = projectionOf(code);
  if (!projection.canWrapX()) return bounds;
  const [west, , east] = projection.getExtent() as Bounds;
  const world = east - west;
  const by = world * Math.floor(((bounds[0] + bounds[2]) / 2 - west) / world);
  return by ? [bounds[0] - by, bounds[1], bounds[2] - by, bounds[3]] : bounds;
}

export function toDegrees(bounds: Bounds, code: string): Bounds {
  return transformExtent(bounds, projectionOf(code), "EPSG:4326", 8) as Bounds;
}

export function pointFromDegrees(point: [number, number], code: string): [number, number] {
  return transform(point, "EPSG:4326", projectionOf(code)) as [number, number];
}

export function pointToDegrees(point: [number, number], code: string): [number, number] {
  return transform(point, projectionOf(code), "EPSG:4326") as [number, number];
}
