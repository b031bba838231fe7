/** Legends: what colours mean. */

import type { Legend } from "./backend";
import { h } from "./dom";
import { number } from "./format";

/** @param unit of the values, if the band states one. */
export function drawLegend(legend: Legend, unit?: string | null): HTMLElement {
  if (legend.kind === "classes") return classes(legend);
  if (legend.kind === "rgb") return bands(legend);
  const { min, max, colors } = legend;
  const known = unit && unit !== "1" ? ` ${unit}` : "";
  const bar = h("div", {
    class: "tz-bar", role: "img",
    "aria-label": `Colours from ${number(min)}${known} to ${number(max)}${known}`,
  });
  bar.style.background = `linear-gradient(to right, ${colors.join(", ")})`;
  return h(
    "div", { class: "tz-legend" }, bar,
    h(
      "div", { class: "tz-legend-ends" },
      [min, (min + max) / 2, max].map((value) => h("span", {}, number(value, 3) + known)),
    ),
  );
}

function classes(legend: Legend & { kind: "classes" }): HTMLElement {
  const item = ({ value, color, label }: (typeof legend.classes)[number]) => {
    const swatch = h("span", { class: "tz-swatch" });
    swatch.style.background = color;
    return h("li", {}, swatch, h("span", {}, label || number(value)));
  };
  return h("div", { class: "tz-legend" }, h("ul", {}, legend.classes.map(item)));
}

const PRIMARY = ["#d7301f", "#238b45", "#2171b5"];
const NAMES = ["Red", "Green", "Blue"];

function bands(legend: Legend & { kind: "rgb" }): HTMLElement {
  const item = (band: string, i: number) => {
    const swatch = h("span", { class: "tz-swatch" });
    swatch.style.background = PRIMARY[i] ?? "none";
    const range = legend.ranges[i];
    const ends = range ? `, ${number(range[0], 3)} to ${number(range[1], 3)}` : "";
    return h("li", {}, swatch, h("span", {}, `${NAMES[i]}: ${band}${ends}`));
  };
  return h("div", { class: "tz-legend" }, h("ul", {}, legend.bands.map(item)));
}
