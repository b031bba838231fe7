/** Colours of the values of an attribute: of numbers a ramp, of others one each. */
import { h } from "../../core/dom";
import { shown } from "../content";
import { colour } from "../footprints";

const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];
const OTHERS = "#999999";

export class Palette {
  /** The attribute; empty for one colour. */
  name = "";
  #known = new Map<string, string>();
  #low = Infinity;
  #high = -Infinity;
  #told = "";

  by(name: string): void {
    this.name = name;
    this.#known = new Map();
    this.#low = Infinity;
    this.#high = -Infinity;
  }

  /** The colour of a feature, as #rrggbb. */
  of(value: unknown): string {
    if (!this.name) return colour("--tz-accent");
    if (value === undefined || value === null) return OTHERS;
    if (typeof value === "number") {
      this.#low = Math.min(this.#low, value);
      this.#high = Math.max(this.#high, value);
      return this.#ramp(value);
    }
    const key = String(value);
    if (!this.#known.has(key) && this.#known.size < COLOURS.length) this.#known.set(key, COLOURS[this.#known.size]!);
    return this.#known.get(key) ?? OTHERS;
  }

  /** Tells what the colours mean; whether the ends of a ramp are other than when it was drawn. */
  legend(host: HTMLElement): boolean {
    const entry = (spotted: string, words: string) => {
      const spot = h("span", { class: "spot" });
      spot.style.background = spotted;
      return h("li", {}, spot, words);
    };
    const numbers = this.#high > this.#low;
    const key = `${this.name} ${this.#low} ${this.#high} ${this.#known.size}`;
    if (key === this.#told) return false;
    this.#told = key;
    const ramp = numbers ? [this.#low, (this.#low + this.#high) / 2, this.#high] : [];
    host.replaceChildren(...[...this.#known].map(([value, spotted]) => entry(spotted, value)), ...ramp.map((value) => entry(this.#ramp(value), shown(value))));
    return numbers;
  }

  #ramp(value: number): string {
    const part = this.#high > this.#low ? (value - this.#low) / (this.#high - this.#low) : 0.5;
    return hex(260 - 210 * part, 0.75, 0.35 + 0.2 * part);
  }
}

/** #rrggbb of hue (degrees), saturation and lightness (0..1). */
function hex(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    const value = lightness - saturation * Math.min(lightness, 1 - lightness) * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(255 * value).toString(16).padStart(2, "0");
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}
