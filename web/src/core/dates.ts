/** Labels of dates: instants have a place in time, names of periods only one in their order. */

const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)))?$/i;

/**
 * Return the milliseconds since 1970 of a label that is a day, which means its beginning in UTC, or
 * a time; null for others. "2021-05" may be a month, a week or a dekad: it is none.
 */
export function instantOf(label: string): number | null {
  const [, date, time] = INSTANT.exec(label) ?? [];
  const at = date === undefined ? NaN : Date.parse(time ? `${date}T${time.toUpperCase()}` : date);
  return Number.isNaN(at) ? null : at;
}

/** What dates are put on: seconds since 1970 if all are instants, else their order. */
export interface Axis {
  time: boolean;
  /** Of a label that is on the axis. */
  at: (label: string) => number;
}

/** @param labels in the order that names have. */
export function axisOf(labels: readonly string[]): Axis {
  if (labels.every((label) => instantOf(label) !== null)) {
    return { time: true, at: (label) => instantOf(label)! / 1000 };
  }
  const places = new Map([...new Set(labels)].map((label, at) => [label, at]));
  return { time: false, at: (label) => places.get(label)! };
}

/** Return the axis of years or months, which begin on their first days; null for other labels. */
export function axisOfPeriods(labels: readonly string[]): Axis | null {
  const alike = [/^\d{4}$/, /^\d{4}-\d\d$/].some((form) => labels.every((one) => form.test(one)));
  return alike ? { time: true, at: (label) => Date.parse(label) / 1000 } : null;
}

/**
 * Return the date of a layer for `time`: that one, else the last before it, else the first. A name
 * that the layer does not have is before or after nothing: null.
 */
export function dateFor(dates: readonly string[], time: string): string | null {
  if (dates.includes(time)) return time;
  const wanted = instantOf(time);
  const instants = dates.map(instantOf);
  if (wanted === null || instants.includes(null)) return null;
  const found = instants.findLastIndex((at) => at! <= wanted);
  return dates[Math.max(0, found)] ?? null;
}

/**
 * Return all dates of some layers in order, each once: instants first, then the names of periods.
 *
 * @param lists dates of each layer, in order.
 */
export function allDates(lists: readonly (readonly string[])[]): string[] {
  const instants = new Map<number, string>();
  const names = new Set<string>();
  let sorted = true;
  for (const dates of lists) {
    const at = dates.map(instantOf);
    if (at.includes(null)) {
      sorted &&= dates.every((date, i) => i === 0 || key(dates[i - 1]!) <= key(date));
      for (const date of dates) names.add(date);
    } else dates.forEach((date, i) => instants.set(at[i]!, date));
  }
  const named = [...names];
  // Those of each layer keep their order, whatever the names mean.
  if (sorted) named.sort((a, b) => (key(a) < key(b) ? -1 : Number(key(a) > key(b))));
  return [...[...instants].sort(([a], [b]) => a - b).map(([, date]) => date), ...named];
}

/** Seasons in the order of a year's labels: December's names the year in which it begins. */
const SEASONS: Readonly<Record<string, string>> = { mam: "0", jja: "1", son: "2", djf: "3" };

function key(name: string): string {
  return name.replace(/-([a-z]{3})$/, (_, season: string) => `-${SEASONS[season] ?? season}`);
}
