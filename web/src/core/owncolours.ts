/** Colours that somebody writes: stops of a ramp, or classes with labels. */

import type { ClassOf, Colors } from "./backend";
import { field } from "./choice";
import { fill, h } from "./dom";

/** A line that is no colour; says which, and how one is written. */
export class ColoursInvalid extends Error {}

/**
 * Read `value #rrggbb` or `value #rrggbb label`, one a line.
 *
 * @throws ColoursInvalid a line is neither, or there are too few.
 */
export function readColours(text: string, kind: "stops" | "classes"): Colors {
  const rows = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const read: ClassOf[] = rows.map((row) => {
    const match = /^([-+\d.eE]+)[\s,;:]+(#[0-9a-fA-F]{6})(?:[\s,;:]+(.*))?$/.exec(row);
    const value = Number(match?.[1]);
    if (!match || !Number.isFinite(value)) {
      throw new ColoursInvalid(`"${row}" is no colour. Write: value #rrggbb label`);
    }
    return { value, color: match[2]!.toLowerCase(), label: match[3] ?? "" };
  });
  if (kind === "classes") {
    if (!read.length) throw new ColoursInvalid("Write one class a line: value #rrggbb label");
    return { classes: read };
  }
  if (read.length < 2) throw new ColoursInvalid("A ramp needs two colours or more, one a line.");
  read.sort((a, b) => a.value - b.value);
  return read.map(({ value, color }) => [value, color] as [number, string]);
}

/** Return colours as lines that `readColours` reads. */
export function writeColours(colors: Exclude<Colors, string>): string {
  const rows = Array.isArray(colors)
    ? colors.map(([value, color]) => `${value} ${color}`)
    : colors.classes.map(({ value, color, label }) => `${value} ${color} ${label}`.trim());
  return rows.join("\n");
}

export class OwnColours {
  /** Whether somebody is about to write some. */
  open = false;
  readonly #text = h("textarea", { rows: 5, spellcheck: false });
  readonly #kind = h(
    "select", {}, h("option", { value: "stops" }, "Ramp between values"),
    h("option", { value: "classes" }, "Classes, a colour for each value"),
  );
  readonly #says = h("div", { role: "alert", class: "tz-error" });
  readonly element = h(
    "div", { class: "tz-look" }, field("As", this.#kind),
    field("Value, #rrggbb, label: one a line", this.#text),
    h("button", { type: "button", class: "tz-button", onclick: () => this.#apply() }, "Use these"),
    this.#says,
  );

  constructor(private readonly chosen: (colors: Colors) => void) {}

  /** @param range what the first lines go from and to, when nothing was written yet. */
  show(
    seen: boolean, colors: Exclude<Colors, string> | null, range: [number, number] | null,
  ): void {
    this.element.hidden = !seen;
    if (!seen) this.open = false;
    if (colors) {
      this.#text.value = writeColours(colors);
      this.#kind.value = Array.isArray(colors) ? "stops" : "classes";
    } else if (seen && this.#text.value === "") {
      const [low, high] = range ?? [0, 1];
      const [first, last] = [low, high].map((value) => Number(value.toPrecision(5)));
      this.#text.value = `${first} #f7fcf5\n${last} #00441b`;
    }
  }

  #apply(): void {
    this.#says.replaceChildren();
    try {
      this.chosen(readColours(this.#text.value, this.#kind.value as "stops" | "classes"));
    } catch (error) {
      if (!(error instanceof ColoursInvalid)) throw error;
      fill(this.#says, error.message);
    }
  }
}
