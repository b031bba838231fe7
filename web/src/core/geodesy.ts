import { Geodesic } from "geographiclib-geodesic";

/** A place as longitude and latitude in degrees on WGS 84. */
export type LonLat = readonly [number, number];

const WGS84 = Geodesic.WGS84;

/** Metres along the shortest way over the ellipsoid, from place to place. */
export function lengthOf(line: readonly LonLat[]): number {
  let metres = 0;
  for (let i = 1; i < line.length; i++) metres += between(line[i - 1]!, line[i]!);
  return metres;
}

/** Metres between two places. */
export function between([lon1, lat1]: LonLat, [lon2, lat2]: LonLat): number {
  return WGS84.Inverse(lat1, lon1, lat2, lon2).s12 ?? Number.NaN;
}

/** Metres around a ring, closed or not. */
export function perimeterOf(ring: readonly LonLat[]): number {
  return figure(ring).perimeter;
}

/** Square metres of a polygon whose edges are geodesics: the first ring less its holes. */
export function areaOf(rings: readonly (readonly LonLat[])[]): number {
  return rings.reduce((sum, ring, at) => {
    const area = Math.abs(figure(ring).area ?? 0);
    return at === 0 ? area : sum - area;
  }, 0);
}

/** The place on the line that is `metres` from its beginning (its end when it is shorter). */
export function along(line: readonly LonLat[], metres: number): LonLat {
  let left = metres;
  for (let i = 1; i < line.length; i++) {
    const [from, to] = [line[i - 1]!, line[i]!];
    const step = WGS84.InverseLine(from[1], from[0], to[1], to[0]);
    const whole = step.s13 ?? 0;
    if (left <= whole || i === line.length - 1) {
      const { lon2, lat2 } = step.Position(Math.min(left, whole));
      return [lon2 ?? to[0], lat2 ?? to[1]];
    }
    left -= whole;
  }
  return line[0]!;
}

function figure(ring: readonly LonLat[]): { perimeter: number; area?: number } {
  const polygon = WGS84.Polygon(false);
  const last = ring[ring.length - 1];
  const closed = ring.length > 1 && last![0] === ring[0]![0] && last![1] === ring[0]![1];
  for (const [lon, lat] of closed ? ring.slice(0, -1) : ring) polygon.AddPoint(lat, lon);
  return polygon.Compute(false, true);
}
