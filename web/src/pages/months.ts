/** How items lie in time: bars of months, and a strip of dates. */
import { h } from "../core/dom";
import { moment, plural, svg } from "./content";

// As wide as they are shown, so that their letters are as large as others.
const WIDE = Math.max(280, Math.min(1160, innerWidth - 40)), HIGH = 120, FOOT = 18;
const number = (month: string): number => Number(month.slice(0, 4)) * 12 + Number(month.slice(5, 7)) - 1;
const name = (n: number): string => `${Math.floor(n / 12)}-${String(n % 12 + 1).padStart(2, "0")}`;

/** Bars of [month, items]; each leads to the items of its month. */
export function monthChart(buckets: [string, number][], address: (month: string) => string): HTMLElement {
  const known = new Map(buckets.map(([month, items]) => [number(month), items]));
  const first = Math.min(...known.keys()), last = Math.max(...known.keys());
  const most = Math.max(...known.values());
  const step = WIDE / Math.max(last - first + 1, 12);
  const bars = [...known].sort(([a], [b]) => a - b).filter(([, items]) => items).map(([n, items]) => {
    const high = Math.max(items / most * (HIGH - 4), 2), about = `${name(n)}: ${plural(items, "item")}`;
    return svg("a", { href: address(name(n)), "aria-label": about }, svg("title", {}, about),
      svg("rect", { class: "bar", x: (n - first) * step, y: HIGH - high, width: Math.max(step * 0.86, 0.8), height: high }));
  });
  const years: SVGElement[] = [];
  const each = Math.max(1, Math.ceil(48 / (12 * step)));
  for (let n = Math.ceil(first / 12) * 12; n <= last; n += 12 * each) {
    const x = (n - first) * step;
    years.push(svg("line", { class: "tick", x1: x, x2: x, y1: HIGH, y2: HIGH + 5 }));
    if (x < WIDE - 30) years.push(svg("text", { x: x + 3, y: HIGH + 15 }, String(n / 12)));
  }
  return h("figure", { class: "chart" },
    svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + FOOT}`, role: "group", "aria-label": `Items per month, at most ${most}` }, bars,
      svg("line", { class: "tick", x1: 0, x2: WIDE, y1: HIGH, y2: HIGH }), years),
    h("figcaption", { class: "soft" }, `${name(first)} to ${name(last)}, at most ${most} in a month. Choose a bar to see its items.`));
}

/** Marks the dots of a strip. */
export interface Strip {
  host: HTMLElement | null;
  mark: (key: number | null, name: string) => void;
}

/** The dates of items on a line; `hover` and `pick` are called with the place of one in the list. */
export function dateStrip(
  times: string[], { hover, pick }: { hover: (key: number | null) => void; pick: (key: number) => void },
): Strip {
  const known = times.map((time, key): [number, number] => [Date.parse(time), key]).filter(([time]) => Number.isFinite(time));
  const first = Math.min(...known.map(([time]) => time)), last = Math.max(...known.map(([time]) => time));
  if (known.length < 2 || first === last) return { host: null, mark: () => {} };
  const dots = new Map(known.map(([time, key]) => [key, svg("circle", {
    class: "dot", cx: 8 + (time - first) / (last - first) * (WIDE - 16), cy: 14, r: 5,
    onpointerenter: () => hover(key), onpointerleave: () => hover(null), onclick: () => pick(key),
  }, svg("title", {}, moment(times[key])))]));
  const ends = ([[first, "start", 2], [last, "end", WIDE - 2]] as const).map(([time, anchor, x]) =>
    svg("text", { x, y: 36, "text-anchor": anchor }, new Date(time).toISOString().slice(0, 10)));
  const host = h("figure", { class: "strip" }, svg("svg", { viewBox: `0 0 ${WIDE} 40`, role: "img", "aria-label": "Dates of the items that are shown" },
    svg("line", { class: "tick", x1: 0, x2: WIDE, y1: 14, y2: 14 }), [...dots.values()], ends));
  const mark = (key: number | null, kind: string) => {
    for (const dot of dots.values()) dot.classList.remove(kind);
    if (key !== null) dots.get(key)?.classList.add(kind);
  };
  return { host, mark };
}
