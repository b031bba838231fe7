/** Boxes and outlines on the globe, on which east of 180 is west again. */
import type { Feature, FeatureCollection, Geometry as GeoJson } from "geojson";

export type Box = [number, number, number, number];
export type Point = number[];
export type Ring = Point[];

/** What of GeoJSON a footprint needs. */
export interface Shape {
  geometry?: unknown;
  bbox?: unknown;
}

/** [west, south, east, north] of a box with or without heights, east beyond west; null for none. */
export function flat(bbox: unknown): Box | null {
  if (!Array.isArray(bbox) || ![4, 6].includes(bbox.length) || !bbox.every(Number.isFinite)) return null;
  const half = bbox.length / 2;
  const [west, south, east, north] = [bbox[0], bbox[1], bbox[half], bbox[half + 1]] as Box;
  return [west, south, east < west ? east + 360 : east, north];
}

interface Geometry { type?: string; coordinates?: unknown; geometries?: Geometry[] }

/** Rings and lines of a geometry as lists of [lon, lat]. */
export function outlines(geometry: unknown): Ring[] {
  const { type, coordinates, geometries } = (geometry ?? {}) as Geometry;
  if (type === "GeometryCollection") return (geometries ?? []).flatMap(outlines);
  if (type === "Point") return [[coordinates as Point]];
  if (type === "MultiPoint") return (coordinates as Point[]).map((point) => [point]);
  if (type === "LineString") return [coordinates as Ring];
  if (type === "MultiLineString" || type === "Polygon") return coordinates as Ring[];
  return type === "MultiPolygon" ? (coordinates as Ring[][]).flat() : [];
}

/**
 * A feature's outlines in one piece, and its box: what lies across the antimeridian goes on beyond
 * 180, whether it was cut there, as it should be, or not.
 */
export function footprint(feature: Shape): { rings: Ring[]; box: Box } | null {
  let rings = outlines(feature.geometry);
  const given = flat(feature.bbox);
  if (!rings.length && given) rings = [corners(given)];
  if (!rings.length) return null;
  const crosses = given !== null && given[2] > 180;
  if (crosses || !given || given[2] - given[0] > 350) rings = together(rings.map((ring) => unrolled(ring, crosses)));
  const points = rings.flat();
  const [lons, lats] = [points.map((point) => point[0]!), points.map((point) => point[1]!)];
  return { rings, box: [least(lons), least(lats), most(lons), most(lats)] };
}

/** A ring that takes the short way from corner to corner. A plain box around the world stays one. */
function unrolled(ring: Ring, crosses: boolean): Ring {
  if (!crosses && new Set(ring.map(([lon]) => lon)).size <= 2) return ring;
  let before = ring[0]![0]!;
  return ring.map(([lon, lat]) => {
    before = lon! + 360 * Math.round((before - lon!) / 360);
    return [before, lat!];
  });
}

/** Rings as near to the first as the globe allows. */
function together(rings: Ring[]): Ring[] {
  const centre = (ring: Ring) => ring.reduce((sum, [lon]) => sum + lon!, 0) / ring.length;
  const first = centre(rings[0]!);
  return rings.map((ring) => {
    const turn = 360 * Math.round((first - centre(ring)) / 360);
    return turn ? ring.map(([lon, lat]) => [lon! + turn, lat!]) : ring;
  });
}

const least = (numbers: number[]): number => numbers.reduce((a, b) => Math.min(a, b), Infinity);
const most = (numbers: number[]): number => numbers.reduce((a, b) => Math.max(a, b), -Infinity);

export const corners = ([w, s, e, n]: Box): Ring => [[w, s], [e, s], [e, n], [w, n], [w, s]];

/**
 * The smallest box around boxes, and by how much each is turned around the globe for that: the
 * globe is cut in the widest gap between them.
 */
export function around(boxes: Box[]): { box: Box | null; turns: number[] } {
  if (!boxes.length) return { box: null, turns: [] };
  const order = boxes.map((_, i) => i).sort((a, b) => boxes[a]![0] - boxes[b]![0]);
  let reach = -Infinity, widest = -1, start = boxes[order[0]!]![0];
  for (const i of order) {
    const [west, , east] = boxes[i]!;
    if (reach > -Infinity && west - reach > widest) [widest, start] = [west - reach, west];
    reach = Math.max(reach, east);
  }
  const first = boxes[order[0]!]![0];
  if (first + 360 - reach >= widest) start = first;
  const turns = boxes.map(([west]) => (west < start ? 360 : 0));
  const turned = boxes.map(([w, s, e, n], i): Box => [w + turns[i]!, s, e + turns[i]!, n]);
  const edge = (side: number, pick: (numbers: number[]) => number) => pick(turned.map((box) => box[side]!));
  const box: Box = [edge(0, least), edge(1, least), edge(2, most), edge(3, most)];
  const off = Math.round((box[0] + box[2]) / 720) * 360;  // its middle in -180..180
  return { box: [box[0] - off, box[1], box[2] - off, box[3]], turns: turns.map((turn) => turn - off) };
}

export const lonInside = (lon: number): number => (Math.abs(lon) <= 180 ? lon : ((lon + 180) % 360 + 360) % 360 - 180);

/** A box as the API takes it: in -180..180, west above east across the antimeridian. */
export function asked([west, south, east, north]: Box): Box {
  if (east - west >= 360) return [-180, south, 180, north];
  return [lonInside(west), south, lonInside(east), north];
}

/** A box that a map shows, as far as it is on the globe. */
export function onGlobe([west, south, east, north]: Box): Box {
  return asked([west, Math.max(south, -90), east, Math.min(north, 90)]);
}

export function degrees(number: number, plus: string, minus: string, digits = 2): string {
  const size = String(+Math.abs(number).toFixed(digits));
  return `${size}°${["0", "180"].includes(size) ? "" : number < 0 ? minus : plus}`;
}

export function boxText(bbox: unknown): string {
  const box = flat(bbox);
  if (!box) return "";
  const [west, south, east, north] = asked(box);
  const narrow = Math.min(box[2] - box[0], north - south);
  const digits = Math.max(0, Math.min(6, Math.ceil(2 - Math.log10(Math.max(narrow, 1e-6)))));
  const lon = (number: number) => degrees(number, "E", "W", digits);
  const lat = (number: number) => degrees(number, "N", "S", digits);
  return `${lon(west)} to ${lon(east)}, ${lat(south)} to ${lat(north)}`;
}

/** Rings as one geometry: lines and points stay what they are. */
export function outline(rings: Ring[]): GeoJson {
  if (rings.every((ring) => ring.length === 1)) return { type: "MultiPoint", coordinates: rings.map((ring) => ring[0]!) };
  if (rings.every((ring) => ring.length > 3)) return { type: "Polygon", coordinates: rings };
  return { type: "MultiLineString", coordinates: rings };
}

/** Features of GeoJSON as a collection; `ids` names them. */
export function collectionOf(geometries: readonly GeoJson[], ids?: readonly number[]): FeatureCollection {
  const features = geometries.map((geometry, i): Feature => ({ type: "Feature", properties: {}, geometry, ...(ids && { id: ids[i]! }) }));
  return { type: "FeatureCollection", features };
}
