// Boxes and outlines on the globe, on which east of 180 is west again.

// [west, south, east, north] of a box with or without heights, east beyond west; null for none.
export function flat(bbox) {
  if (!Array.isArray(bbox) || ![4, 6].includes(bbox.length) || !bbox.every(Number.isFinite)) return null;
  const half = bbox.length / 2;
  const [west, south, east, north] = [bbox[0], bbox[1], bbox[half], bbox[half + 1]];
  return [west, south, east < west ? east + 360 : east, north];
}

// Rings and lines of a geometry as lists of [lon, lat].
export function outlines(geometry) {
  const { type, coordinates, geometries } = geometry ?? {};
  if (type === "GeometryCollection") return (geometries ?? []).flatMap(outlines);
  if (type === "Point") return [[coordinates]];
  if (type === "MultiPoint") return coordinates.map((point) => [point]);
  if (type === "LineString") return [coordinates];
  if (type === "MultiLineString" || type === "Polygon") return coordinates;
  return type === "MultiPolygon" ? coordinates.flat() : [];
}

// A feature's outlines in one piece, and its box: what lies across the antimeridian goes on beyond
// 180, whether it was cut there, as it should be, or not.
export function footprint(feature) {
  let rings = outlines(feature.geometry);
  const given = flat(feature.bbox);
  if (!rings.length && given) rings = [corners(given)];
  if (!rings.length) return null;
  const crosses = given && given[2] > 180;
  if (crosses || !given || given[2] - given[0] > 350) rings = together(rings.map((ring) => unrolled(ring, crosses)));
  const points = rings.flat();
  const [lons, lats] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const box = [least(lons), least(lats), most(lons), most(lats)];
  return { rings, box };
}

// A ring that takes the short way from corner to corner. A plain box around the world stays one.
function unrolled(ring, crosses) {
  if (!crosses && new Set(ring.map(([lon]) => lon)).size <= 2) return ring;
  let before = ring[0][0];
  return ring.map(([lon, lat]) => {
    before = lon + 360 * Math.round((before - lon) / 360);
    return [before, lat];
  });
}

// Rings as near to the first as the globe allows.
function together(rings) {
  const centre = (ring) => ring.reduce((sum, [lon]) => sum + lon, 0) / ring.length;
  const first = centre(rings[0]);
  return rings.map((ring) => {
    const turn = 360 * Math.round((first - centre(ring)) / 360);
    return turn ? ring.map(([lon, lat]) => [lon + turn, lat]) : ring;
  });
}

const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b), Infinity);
const most = (numbers) => numbers.reduce((a, b) => Math.max(a, b), -Infinity);
const corners = ([w, s, e, n]) => [[w, s], [e, s], [e, n], [w, n], [w, s]];

// The smallest box around boxes, and by how much each is turned around the globe for that: the
// globe is cut in the widest gap between them.
export function around(boxes) {
  if (!boxes.length) return { box: null, turns: [] };
  const order = boxes.map((_, i) => i).sort((a, b) => boxes[a][0] - boxes[b][0]);
  let reach = -Infinity, widest = -1, start = boxes[order[0]][0];
  for (const i of order) {
    if (reach > -Infinity && boxes[i][0] - reach > widest) [widest, start] = [boxes[i][0] - reach, boxes[i][0]];
    reach = Math.max(reach, boxes[i][2]);
  }
  const first = boxes[order[0]][0];
  if (first + 360 - reach >= widest) start = first;
  const turns = boxes.map(([west]) => (west < start ? 360 : 0));
  const turned = boxes.map(([w, s, e, n], i) => [w + turns[i], s, e + turns[i], n]);
  const edge = (side, pick) => pick(turned.map((box) => box[side]));
  const box = [edge(0, least), edge(1, least), edge(2, most), edge(3, most)];
  const off = Math.round((box[0] + box[2]) / 720) * 360;  // its middle in -180..180
  return {
    box: [box[0] - off, box[1], box[2] - off, box[3]],
    turns: turns.map((turn) => turn - off),
  };
}

export const lonInside = (lon) => (Math.abs(lon) <= 180 ? lon : ((lon + 180) % 360 + 360) % 360 - 180);

// A box as the API takes it: in -180..180, west above east across the antimeridian.
export function asked([west, south, east, north]) {
  if (east - west >= 360) return [-180, south, 180, north];
  return [lonInside(west), south, lonInside(east), north];
}

export function degrees(number, plus, minus, digits = 2) {
  const size = String(+Math.abs(number).toFixed(digits));
  return `${size}°${["0", "180"].includes(size) ? "" : number < 0 ? minus : plus}`;
}

export function boxText(bbox) {
  const box = flat(bbox);
  if (!box) return "";
  const [west, south, east, north] = asked(box);
  const least = Math.min(box[2] - box[0], north - south);
  const digits = Math.max(0, Math.min(6, Math.ceil(2 - Math.log10(Math.max(least, 1e-6)))));
  const [lon, lat] = [["E", "W"], ["N", "S"]].map((names) => (number) => degrees(number, ...names, digits));
  return `${lon(west)} to ${lon(east)}, ${lat(south)} to ${lat(north)}`;
}
