/** The land of the basemap: unpacked, cut to what a projection can show, and bent with it. */

import { transform } from "ol/proj";
import proj4 from "proj4";

import type { Bounds } from "./backend";
import { projectionOf } from "./projections";

/** As web/basemap.mjs writes it. */
export interface LandFile {
  source: string;
  /** Degrees of a step. */
  unit: number;
  /** Steps of longitude and latitude in turn, from corner to corner. */
  arcs: number[][];
  /** Rings of arcs; `~i` is arc i backwards. */
  countries: { name: string; rings: number[][][] }[];
}

type Point = [number, number];
type Line = Point[];

export interface Land {
  countries: { name: string; polygons: Line[][] }[];
  /** Where land ends, and where countries meet. */
  coasts: Line[];
  borders: Line[];
}

/** Longest edge that is drawn straight in planes in which parallels are bent, degrees. */
const STEP = 1;
/** How far around its own extent a plane is filled, metres. */
const AROUND = 1_500_000;
/** Degrees either side of the central meridian that transverse planes show. */
const REACH = 40;
const MERCATOR_EDGE = 85.0511;

export function unpack(file: LandFile): Land {
  const arcs = file.arcs.map((steps) => {
    let [x, y] = [0, 0];
    const line: Line = [];
    for (let i = 0; i < steps.length; i += 2) {
      x += steps[i]!;
      y += steps[i + 1]!;
      line.push([x * file.unit, y * file.unit]);
    }
    return line;
  });
  const uses = new Array<number>(arcs.length).fill(0);
  const countries = file.countries.map(({ name, rings }) => ({
    name,
    polygons: rings.map((polygon) => outerFirst(polygon.map((ring) => {
      for (const i of ring) uses[i < 0 ? ~i : i]! += 1;
      return closed(unrolled(joined(
        ring.map((i) => i < 0 ? [...arcs[~i]!].reverse() : arcs[i]!),
      )));
    }))),
  }));
  return {
    countries,
    coasts: arcs.filter((_, i) => uses[i] === 1).flatMap(withoutSeams).map(unrolled),
    borders: arcs.filter((_, i) => uses[i]! > 1).map(unrolled),
  };
}

/** The data have Antarctica as a hole of a speck at the pole. */
function outerFirst(rings: Line[]): Line[] {
  return rings.filter((ring) => ring.length > 3).sort((a, b) => areaOf(b) - areaOf(a));
}

function areaOf(ring: Line): number {
  let twice = 0;
  ring.forEach(([x, y], i) => {
    const [px, py] = ring.at(i - 1)!;
    twice += px * y - x * py;
  });
  return Math.abs(twice) / 2;
}

function joined(arcs: Line[]): Line {
  const ring: Line = [];
  for (const arc of arcs) ring.push(...(ring.length ? arc.slice(1) : arc));
  return ring;
}

/** A line that goes on beyond 180 degrees instead of jumping to the other side of the world. */
function unrolled(line: Line): Line {
  let turns = 0;
  return line.map(([lon, lat], i) => {
    const before = line[i - 1]?.[0];
    if (before !== undefined) turns -= Math.round((lon - before) / 360);
    return [lon + 360 * turns, lat];
  });
}

/** A ring around a pole ends a turn away from where it began: it is closed by way of the pole. */
function closed(ring: Line): Line {
  const [first, last] = [ring[0]!, ring.at(-1)!];
  if (Math.abs(first[0] - last[0]) < 180) return ring;
  const pole = ring.reduce((sum, [, lat]) => sum + lat, 0) < 0 ? -90 : 90;
  return [...ring, [last[0], pole], [first[0], pole], first];
}

/** The edge of the world in degrees is no coast. */
function withoutSeams(line: Line): Line[] {
  const parts: Line[] = [];
  let part: Line = [];
  line.forEach((point, i) => {
    const before = line[i - 1];
    if (before && onSeam(before) && onSeam(point)) {
      if (part.length > 1) parts.push(part);
      part = [];
    }
    part.push(point);
  });
  if (part.length > 1) parts.push(part);
  return parts;
}

function onSeam([lon, lat]: Point): boolean {
  return Math.abs(lon) > 179.98 || lat < -89.9;
}

/** Return the part of the world that a plane shows, in degrees; longitudes may go beyond 180. */
export function domain(code: string): Bounds {
  if (code === "EPSG:3857") return [-180, -MERCATOR_EDGE, 180, MERCATOR_EDGE];
  if (code === "EPSG:4326") return [-180, -90, 180, 90];
  const projection = projectionOf(code);
  const room = AROUND / (projection.getMetersPerUnit() ?? 1);
  const [left, bottom, right, top] = projection.getExtent() as Bounds;
  const grown: Bounds = [left - room, bottom - room, right + room, top + room];
  const centre = transform([(left + right) / 2, (bottom + top) / 2], projection, "EPSG:4326");
  const lons: number[] = [];
  const lats: number[] = [];
  const steps = 24;
  for (let i = 0; i <= steps; i += 1) {
    for (let j = 0; j <= steps; j += 1) {
      const x = grown[0] + (i / steps) * (grown[2] - grown[0]);
      const y = grown[1] + (j / steps) * (grown[3] - grown[1]);
      const [lon, lat] = transform([x, y], projection, "EPSG:4326") as Point;
      if (!Number.isFinite(lon) || !Number.isFinite(lat)) continue;
      lons.push(centre[0]! + wrapped(lon - centre[0]!));
      lats.push(lat);
    }
  }
  const low = Math.max(-90, Math.min(...lats));
  const high = Math.min(90, Math.max(...lats));
  // Where the lands all around a pole are in sight, every longitude is.
  const allAround = (lat: number) => [0, 45, 90, 135, 180, 225, 270, 315].every((lon) => {
    const [x, y] = transform([lon, lat], "EPSG:4326", projection) as Point;
    return x >= grown[0] && x <= grown[2] && y >= grown[1] && y <= grown[3];
  });
  const [south, north] = [allAround(-80), allAround(80)];
  if (south || north) return [-180, south ? -90 : low, 180, north ? 90 : high];
  const reach = isTransverse(code) ? REACH : 180;
  return [
    Math.max(centre[0]! - reach, Math.min(...lons)), low,
    Math.min(centre[0]! + reach, Math.max(...lons)), high,
  ];
}

/** Transverse Mercator and its like lose all measure far from their meridian. */
function isTransverse(code: string): boolean {
  const name: unknown = (proj4.defs(code) as { projName?: unknown } | undefined)?.projName;
  return /^EPSG:32[67]\d\d$/.test(code) || /^e?tmerc$|^utm$|Transverse|Gauss/.test(String(name));
}

function wrapped(degrees: number): number {
  return degrees - 360 * Math.round(degrees / 360);
}

/** Lines of every ten degrees within `box`. */
export function graticule(box: Bounds): Line[] {
  const lines: Line[] = [];
  for (let lon = -540; lon <= 540; lon += 10) lines.push([[lon, -80], [lon, 80]]);
  for (let lat = -80; lat <= 80; lat += 10) lines.push([[-540, lat], [540, lat]]);
  return lines.flatMap((line) => cutLine(line, box)).map(divided);
}

/** Return the land within `box` (see `domain`), with long edges divided where they are bent. */
export function within(land: Land, box: Bounds, bent: boolean): Land {
  const shifts = [-360, 0, 360]; // of rings that go on beyond 180 degrees, too
  const finish = (line: Line): Line => bent ? divided(line) : line;
  const lines = (all: Line[]): Line[] => shifts.flatMap((by) => all.flatMap(
    (line) => cutLine(shifted(line, by), box).map(finish),
  ));
  return {
    countries: land.countries.map(({ name, polygons }) => ({
      name,
      polygons: shifts.flatMap((by) => polygons.flatMap((polygon) => {
        const rings = polygon.map((ring) => cutRing(shifted(ring, by), box));
        const [outer, ...inner] = rings;
        if (!outer || outer.length < 4) return [];
        return [[outer, ...inner.filter((ring) => ring.length >= 4)].map(finish)];
      })),
    })).filter(({ polygons }) => polygons.length),
    coasts: lines(land.coasts),
    borders: lines(land.borders),
  };
}

function shifted(line: Line, by: number): Line {
  return by === 0 ? line : line.map(([lon, lat]) => [lon + by, lat]);
}

/** The four sides of a box: how far a point is inside, and which coordinate that is about. */
function sides([left, bottom, right, top]: Bounds): ((point: Point) => number)[] {
  return [(p) => p[0] - left, (p) => right - p[0], (p) => p[1] - bottom, (p) => top - p[1]];
}

/** Sutherland and Hodgman's: cut by one side after the other. */
export function cutRing(ring: Line, box: Bounds): Line {
  let points = ring.slice(0, -1);
  for (const inside of sides(box)) {
    const kept: Line = [];
    points.forEach((point, i) => {
      const before = points.at(i - 1)!;
      const [a, b] = [inside(before), inside(point)];
      if (a < 0 !== b < 0) kept.push(between(before, point, a / (a - b)));
      if (b >= 0) kept.push(point);
    });
    points = kept;
    if (!points.length) return [];
  }
  return [...points, points[0]!];
}

export function cutLine(line: Line, box: Bounds): Line[] {
  let parts = [line];
  for (const inside of sides(box)) {
    parts = parts.flatMap((part) => cutAt(part, inside));
  }
  return parts;
}

function cutAt(line: Line, inside: (point: Point) => number): Line[] {
  const parts: Line[] = [];
  let part: Line = [];
  line.forEach((point, i) => {
    const before = line[i - 1];
    const b = inside(point);
    if (before) {
      const a = inside(before);
      if (a < 0 !== b < 0) part.push(between(before, point, a / (a - b)));
    }
    if (b >= 0) part.push(point);
    else {
      if (part.length > 1) parts.push(part);
      part = [];
    }
  });
  if (part.length > 1) parts.push(part);
  return parts;
}

function between(a: Point, b: Point, share: number): Point {
  return [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])];
}

function divided(line: Line): Line {
  const out: Line = [];
  line.forEach((point, i) => {
    const before = line[i - 1];
    if (before) {
      const longest = Math.max(Math.abs(point[0] - before[0]), Math.abs(point[1] - before[1]));
      const parts = Math.ceil(longest / STEP);
      for (let k = 1; k < parts; k += 1) out.push(between(before, point, k / parts));
    }
    out.push(point);
  });
  return out;
}
