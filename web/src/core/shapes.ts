/** Shapes from text that people type, paste or bring in a file. */

import type { Feature, FeatureCollection, Geometry, GeoJSON, Position } from "geojson";

/** Text that holds no shape that can be put on a map. */
export class ShapeInvalid extends Error {}

/** The most shapes of one file: a list of more helps nobody. */
export const MOST_SHAPES = 500;

type OneShape = Feature<Geometry, Record<string, unknown> | null>;

/**
 * Read GeoJSON, or pairs of longitude and latitude with commas, semicolons or line ends between.
 *
 * @throws ShapeInvalid it is neither, has too few or impossible coordinates, or too many shapes.
 */
export function fromText(text: string, shape = "Polygon"): OneShape[] {
  if (/^\s*[{[]/.test(text)) return fromGeoJson(text);
  const pairs = text
    .split(/[,;\n]+/)
    .map((part) => part.trim())
    .filter(Boolean)
    .map(pair);
  const least = { Point: 1, LineString: 2 }[shape] ?? 3;
  if (pairs.length < least) {
    throw new ShapeInvalid(
      `${pairs.length} of at least ${least} places: write longitude and latitude ` +
        "with a blank between, and a comma after each place, as in 7.61 45.05, 7.66 45.05.",
    );
  }
  if (shape === "Point") return pairs.map((at) => feature({ type: "Point", coordinates: at }));
  if (shape === "LineString") return [feature({ type: "LineString", coordinates: pairs })];
  const [first, last] = [pairs[0]!, pairs[pairs.length - 1]!];
  const ring = first[0] === last[0] && first[1] === last[1] ? pairs : [...pairs, first];
  if (ring.length < 4) throw new ShapeInvalid("A polygon needs three different places.");
  return [feature({ type: "Polygon", coordinates: [ring] })];
}

function pair(text: string): Position {
  const numbers = text.split(/\s+/).map(Number);
  if (numbers.length !== 2) {
    throw new ShapeInvalid(
      `"${text}" is no place: write longitude and latitude with a blank between.`,
    );
  }
  return checked(numbers);
}

function fromGeoJson(text: string): OneShape[] {
  let given: Partial<GeoJSON> | null;
  try {
    given = JSON.parse(text) as Partial<GeoJSON> | null;
  } catch {
    throw new ShapeInvalid("This is no GeoJSON: it is not even JSON. Was it cut off?");
  }
  const features =
    given?.type === "FeatureCollection"
      ? ((given as Partial<FeatureCollection>).features ?? [])
      : [given?.type === "Feature" ? (given as Feature) : feature(given as Geometry)];
  const shapes = features.filter((one) => one.geometry);
  if (!shapes.length) throw new ShapeInvalid("There is no shape in this GeoJSON.");
  if (shapes.length > MOST_SHAPES) {
    throw new ShapeInvalid(
      `${shapes.length} shapes are too many to draw: ${MOST_SHAPES} at most. ` +
        "Show the file as a layer instead.",
    );
  }
  for (const one of shapes) check(one.geometry);
  return shapes as OneShape[];
}

const DEPTH: Record<string, number> = {
  Point: 0,
  MultiPoint: 1,
  LineString: 1,
  MultiLineString: 2,
  Polygon: 2,
  MultiPolygon: 3,
};

function check(geometry: Partial<Geometry> | null): void {
  const depth = DEPTH[geometry?.type ?? ""];
  if (depth === undefined) {
    throw new ShapeInvalid(
      `${JSON.stringify(geometry?.type ?? null)} is no shape that can be drawn here: ` +
        `use ${Object.keys(DEPTH).join(", ")}.`,
    );
  }
  walk((geometry as { coordinates?: unknown }).coordinates, depth);
}

function walk(coordinates: unknown, depth: number): void {
  if (!Array.isArray(coordinates) || !coordinates.length) {
    throw new ShapeInvalid("A shape has no coordinates.");
  }
  if (depth === 0) checked(coordinates as number[]);
  else for (const part of coordinates as unknown[]) walk(part, depth - 1);
}

function checked(position: readonly number[]): Position {
  const [lon, lat] = position;
  if (!(Math.abs(lon!) <= 540 && Math.abs(lat!) <= 90)) {
    throw new ShapeInvalid(
      `${position.slice(0, 2).join(" ")} is no longitude and latitude in degrees: ` +
        "longitudes go from -180 to 180, latitudes from -90 to 90.",
    );
  }
  return [lon!, lat!];
}

function feature(geometry: Geometry): OneShape {
  return { type: "Feature", geometry, properties: {} };
}
