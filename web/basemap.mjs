/**
 * The basemap: countries of Natural Earth 1:50m (public domain) as the package world-atlas has
 * them, thinned to what is seen at the scales that they are good for.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Degrees that a line may be moved by; the source itself is good to a few kilometres. */
const TOLERANCE = 0.015;
/** Degrees of a step. */
const UNIT = 0.01;

/**
 * Arcs as steps of `unit` degrees (longitude and latitude in turn, from corner to corner), and
 * countries as rings of arcs: `~i` is arc i backwards, as in TopoJSON.
 */
export async function basemap(folder) {
  const path = join(folder, "node_modules/world-atlas/countries-50m.json");
  const topology = JSON.parse(await readFile(path, "utf8"));
  const { scale, translate } = topology.transform;
  const arcs = topology.arcs.map((arc) => {
    let [x, y] = [0, 0];
    const points = arc.map(([dx, dy]) => {
      x += dx;
      y += dy;
      return [x * scale[0] + translate[0], y * scale[1] + translate[1]];
    });
    return steps(thinned(points));
  });
  const countries = topology.objects.countries.geometries.map((geometry) => ({
    name: geometry.properties.name,
    rings: geometry.type === "Polygon" ? [geometry.arcs] : geometry.arcs ?? [],
  }));
  return {
    source: "Natural Earth 1:50m, public domain, from world-atlas 2.0.2",
    unit: UNIT,
    arcs,
    countries,
  };
}

/** Douglas and Peucker's: ends stay, so that neighbours go on sharing their border. */
function thinned(points) {
  const keep = new Set([0, points.length - 1]);
  const open = [[0, points.length - 1]];
  while (open.length) {
    const [from, to] = open.pop();
    let [farthest, at] = [from === to ? 0 : TOLERANCE, -1];
    for (let i = from + 1; i < to; i += 1) {
      const distance = fromLine(points[i], points[from], points[to]);
      if (distance > farthest) [farthest, at] = [distance, i];
    }
    if (at >= 0) {
      keep.add(at);
      open.push([from, at], [at, to]);
    }
  }
  return points.filter((_, i) => keep.has(i));
}

function fromLine([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const along = length && Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length));
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
}

function steps(points) {
  let [px, py] = [0, 0];
  const found = [];
  for (const [lon, lat] of points) {
    const [x, y] = [Math.round(lon / UNIT), Math.round(lat / UNIT)];
    if (found.length && x === px && y === py) continue;
    found.push(x - px, y - py);
    [px, py] = [x, y];
  }
  return found;
}
