/** How values become colours: what people choose, and what that comes to in numbers. */

import type { Band, BandStatistics, Look, Statistics, Stretch } from "./backend";

/** Return a look that says the same to everybody: its stretch, if any, is a range. */
export function absolute(look: Look): Look {
  const { stretch } = look;
  if (!stretch) return look;
  const { gamma, per_band } = stretch;
  const more = gamma === undefined || gamma === 1 ? {} : { gamma };
  if (per_band) return { ...look, stretch: { kind: "range", per_band, ...more } };
  if (stretch.kind !== "range" || stretch.low === undefined || stretch.high === undefined) {
    const { stretch: _, ...rest } = look; // nobody has looked at the view yet
    return rest;
  }
  const { low, high } = stretch;
  const shown = Math.max(1, look.bands?.length ?? 1);
  return {
    ...look,
    stretch: {
      kind: "range", per_band: Array.from({ length: shown }, () => [low, high]), ...more,
    },
  };
}

/** Whether the stretch has to be worked out of the view's statistics before it can be shown. */
export function needsStatistics(stretch: Stretch | undefined): boolean {
  return stretch !== undefined && stretch.kind !== "range" && !stretch.per_band;
}

/** Return the stretch with the values that it comes to in the view that `statistics` are of. */
export function resolved(stretch: Stretch, statistics: Statistics): Stretch {
  const per_band = statistics.bands.map((band) => limits(stretch, band));
  return { ...stretch, per_band };
}

/** Return the lowest and the highest value that have colours of their own. */
export function limits(stretch: Stretch, band: BandStatistics): [number, number] {
  const { min, max, mean, sd } = band;
  if (min === null || max === null) return [0, 1]; // nothing there; any stretch shows nothing
  let [low, high] = [min, max];
  if (stretch.kind === "range") [low, high] = [stretch.low ?? min, stretch.high ?? max];
  if (stretch.kind === "percentile") {
    low = percentile(band, stretch.low ?? 2);
    high = percentile(band, stretch.high ?? 98);
  }
  if (stretch.kind === "sd" && mean !== null && sd !== null) {
    const width = (stretch.low ?? 2) * sd;
    [low, high] = [mean - width, mean + width];
  }
  return low < high ? [low, high] : [low, low + 1];
}

/** Return a percentile: one of those that were computed, or between two of them. */
export function percentile(band: BandStatistics, share: number): number {
  const known = Object.entries(band.percentiles)
    .filter((entry): entry is [string, number] => entry[1] !== null)
    .map(([at, value]) => [Number(at), value] as const)
    .sort((a, b) => a[0] - b[0]);
  const all = [[0, band.min ?? 0] as const, ...known, [100, band.max ?? 0] as const];
  for (let i = 1; i < all.length; i += 1) {
    const [left, right] = [all[i - 1]!, all[i]!];
    if (share <= right[0]) {
      const part = right[0] === left[0] ? 0 : (share - left[0]) / (right[0] - left[0]);
      return left[1] + part * (right[1] - left[1]);
    }
  }
  return band.max ?? 0;
}

/** What a band is called beside a picture: its title or name, and its unit. */
export function bandTitle(band: Band): string {
  const title = band.title || band.name;
  return band.unit && band.unit !== "1" ? `${title} (${band.unit})` : title;
}
