import { csv } from "./csv";
import { type Axis, axisOf, axisOfPeriods } from "./dates";
import { bandName } from "./format";

/** What the computing side answers to `profile`. */
export interface ProfileAnswer {
  /** Metres of a pixel. */
  resolution: number;
  bands: readonly { name: string; unit?: string | null }[];
  rows: readonly ProfileRow[];
  /** A curve through what was seen well enough, with dates of its own. */
  smoothed?: {
    dates: readonly string[];
    values: Record<string, readonly (number | null)[]>;
  } | null;
}

/** One date of a geometry. */
export interface ProfileRow {
  date: string;
  values: Record<string, number | null>;
  /** Share of the geometry that was seen, 0 to 1. */
  valid: number;
  /** Pixels that count, by their covered share. */
  count: number;
  items?: readonly string[];
}

/** Columns over one x axis, as a chart wants them. */
export interface Joined {
  /** Whether `x` is seconds since 1970; else the place of each date among all. */
  time: boolean;
  /** Ascending. */
  x: number[];
  dates: string[];
  seen: (number | null)[];
  curve: (number | null)[];
  /** Of each x: whether the date counts as free of clouds. */
  clear: boolean[];
  rows: (ProfileRow | undefined)[];
}

function axisOfAll({ rows, smoothed }: ProfileAnswer): Axis {
  const dates = rows.map((row) => row.date);
  // A curve goes through days: where there is one, "2021-05" is a month.
  const periods = smoothed?.dates.length ? axisOfPeriods(dates) : null;
  return periods ?? axisOf([...dates, ...(smoothed?.dates ?? [])]);
}

/** Puts dots and curve of one band on one axis of dates. */
export function joined(answer: ProfileAnswer, band: string, minValid: number): Joined {
  const axis = axisOfAll(answer);
  const dots = new Map<number, ProfileRow>();
  const line = new Map<number, number | null>();
  const label = new Map<number, string>();
  for (const row of answer.rows) {
    const x = axis.at(row.date);
    const there = dots.get(x);
    if (!there || there.valid < row.valid) dots.set(x, row);
    label.set(x, row.date);
  }
  answer.smoothed?.dates.forEach((date, at) => {
    const x = axis.at(date);
    line.set(x, answer.smoothed?.values[band]?.[at] ?? null);
    if (!label.has(x)) label.set(x, date);
  });
  const x = [...label.keys()].sort((a, b) => a - b);
  return {
    time: axis.time,
    x,
    dates: x.map((at) => label.get(at)!),
    seen: x.map((at) => dots.get(at)?.values[band] ?? null),
    curve: x.map((at) => line.get(at) ?? null),
    clear: x.map((at) => (dots.get(at)?.valid ?? 0) >= minValid),
    rows: x.map((at) => dots.get(at)),
  };
}

/** Every date and every band of an answer, with the curves, as CSV. */
export function profileCsv(answer: ProfileAnswer, minValid: number): string {
  const axis = axisOfAll(answer);
  const names = answer.bands.map((band) => band.name);
  const curves = answer.smoothed?.dates.length ? names.map((name) => `${bandName(name)}_smoothed`) : [];
  const curveAt = new Map((answer.smoothed?.dates ?? []).map((date, at) => [axis.at(date), at]));
  const known = new Set(answer.rows.map((row) => axis.at(row.date)));
  const lines: { date: string; row?: ProfileRow }[] = [
    ...answer.rows.map((row) => ({ date: row.date, row })),
    ...(answer.smoothed?.dates ?? [])
      .filter((date) => !known.has(axis.at(date)))
      .map((date) => ({ date })),
  ];
  lines.sort((one, other) => axis.at(one.date) - axis.at(other.date));
  return csv(
    [
      "date",
      ...names.map(bandName),
      ...curves,
      "valid_share",
      "pixels",
      "cloud_free",
      "resolution_m",
      "items",
    ],
    lines.map(({ date, row }) => [
      date,
      ...names.map((name) => row?.values[name]),
      ...curves.map(
        (_, at) => answer.smoothed?.values[names[at]!]?.[curveAt.get(axis.at(date)) ?? -1],
      ),
      row?.valid,
      row?.count,
      row && row.valid >= minValid,
      answer.resolution,
      row?.items?.join(" "),
    ]),
  );
}
