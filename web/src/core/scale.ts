/** How long a pixel of the map is on the ground, and the bar that shows it. */

import { distance } from "./format";
import { between } from "./geodesy";
import type { MapView } from "./map";
import { pointToDegrees } from "./projections";

/** A bar of a round length. */
export interface Bar {
  metres: number;
  pixels: number;
  label: string;
}

/** Return the geodesic metres of a CSS pixel in the middle of the map, from left to right. */
export function metresPerPixel(view: MapView): number {
  const {
    bounds: [left, bottom, right, top],
    width,
  } = view.bounds();
  const y = (bottom + top) / 2;
  const step = (right - left) / width;
  const x = (left + right) / 2;
  const ends = [x - 5 * step, x + 5 * step].map((at) => pointToDegrees([at, y], view.projection));
  return between(ends[0]!, ends[1]!) / 10;
}

/** Return the longest bar of 1, 2 or 5 times a power of ten that is at most `most` pixels long. */
export function barOf(metres: number, most: number): Bar {
  const whole = metres * most;
  const power = 10 ** Math.floor(Math.log10(whole));
  const length = power * ([5, 2].find((step) => step * power <= whole) ?? 1);
  return { metres: length, pixels: length / metres, label: distance(length) };
}
