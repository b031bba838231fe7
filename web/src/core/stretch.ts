/** How a raster layer is shown: its bands, what is dark and what is bright, and its colours. */

import type { Backend, Colors, Look, Statistics, Stretch, StretchKind } from "./backend";
import { field, sampled } from "./choice";
import { fill, h } from "./dom";
import { computedAt, number } from "./format";
import { absolute, bandTitle, resolved } from "./look";
import type { MapView } from "./map";
import type { RasterLayer } from "./raster";
import { OwnColours } from "./owncolours";
import { Task } from "./task";

/** The longer side of what statistics are taken of, pixels. */
const MOST = 512;

const KINDS: [StretchKind, string][] = [
  ["percentile", "Percentiles of the view"],
  ["minmax", "Lowest and highest of the view"],
  ["sd", "Mean and deviations of the view"],
  ["range", "Fixed values"],
];

const GAMMA = "Gamma (above 1: brighter)";
const NO_NAME = "";
const OWN = "own";
const FIRST = ["viridis", "gray", "RdYlGn", "terrain", "RdBu", "inferno", "Blues", "YlGn", "tab10"];

const known = new WeakMap<Backend, Promise<Record<string, string[]>>>();

/** All colour maps of a backend, 17 colours each; asked for once. */
export function colormapsOf(backend: Backend): Promise<Record<string, string[]>> {
  let found = known.get(backend);
  if (!found) {
    found = backend.ask<Record<string, string[]>>("colormaps", null, {});
    found.catch(() => known.delete(backend)); // ask again next time
    known.set(backend, found);
  }
  return found;
}

/** The percentile stretch of the view that a layer is first shown with. */
export const FIRST_STRETCH: Stretch = { kind: "percentile", low: 2, high: 98 };

/** The question that each layer's stretch waits for. */
const asking = new WeakMap<RasterLayer, AbortController>();

/**
 * Work the layer's stretch out of the statistics of what the map shows now. It ends as stopped when
 * the layer gets other bands or another stretch meanwhile; a new date, colours and gamma stay.
 */
export async function stretchToView(
  view: MapView, layer: RasterLayer, stretch: Stretch, signal?: AbortSignal,
): Promise<Statistics> {
  const { per_band: _, ...wanted } = stretch;
  const asked = layer.look;
  asking.get(layer)?.abort();
  const mine = new AbortController();
  asking.set(layer, mine);
  const end = layer.onChange((what) => {
    if (what === "look" && stretched(layer) !== stretched(layer, asked)) mine.abort();
  });
  try {
    const either = signal ? AbortSignal.any([signal, mine.signal]) : mine.signal;
    const statistics = await layer.ask<Statistics>("statistics", {
      ...sampled(view.bounds(), MOST), look: { ...asked, stretch: wanted },
    }, either);
    either.throwIfAborted();
    end();
    if (statistics.bands.some((band) => band.valid > 0)) {
      const found = resolved(wanted, statistics);
      const gamma = layer.look.stretch?.gamma;
      const bent = gamma !== undefined && gamma !== asked.stretch?.gamma ? { gamma } : {};
      layer.look = { ...layer.look, stretch: { ...found, ...bent } };
    }
    return statistics;
  } finally {
    end();
    if (asking.get(layer) === mine) asking.delete(layer);
  }
}

/** What a layer is stretched by when its look does not say. */
function stretchOf({ about: { range } }: RasterLayer, look: Look): Stretch {
  const fixed: Stretch = range
    ? { kind: "range", low: range[0], high: range[1] }
    : { ...FIRST_STRETCH };
  return look.stretch ?? fixed;
}

/** The bands and the stretch of a look but for its gamma, to be compared. */
function stretched(layer: RasterLayer, look = layer.look): string {
  const { kind, low, high, per_band } = stretchOf(layer, look);
  return JSON.stringify([look.bands, kind, low, high, per_band]);
}

export class LookPanel {
  readonly element = h("div", { class: "tz-look" });
  readonly #task = new Task();
  readonly #bands = h("fieldset", {}, h("legend", {}, "Bands"));
  readonly #kind = h("select", { onchange: () => this.#chooseKind() });
  readonly #low = h("input", { type: "number", step: "any", onchange: () => this.#numbers() });
  readonly #high = h("input", { type: "number", step: "any", onchange: () => this.#numbers() });
  readonly #gamma = h("input", {
    type: "range", min: "0.2", max: "3", step: "0.05", "aria-label": GAMMA,
    oninput: () => this.#bend(),
  });
  readonly #gammaSays = h("output");
  readonly #again = h("button", {
    type: "button", class: "tz-button", onclick: () => void this.#fromView(),
  }, "Take from this view");
  readonly #lowField = field("Low", this.#low);
  readonly #highField = field("High", this.#high);
  readonly #map = h("select", { onchange: () => this.#chooseColours() });
  readonly #reversed = h("input", { type: "checkbox", onchange: () => this.#chooseColours() });
  readonly #bar = h("div", { class: "tz-bar", "aria-hidden": "true" });
  readonly #own: OwnColours;
  readonly #colours: HTMLFieldSetElement;
  #maps: Record<string, string[]> = {};
  readonly #end: () => void;

  constructor(private readonly view: MapView, private readonly layer: RasterLayer) {
    this.#own = new OwnColours((colors) => this.#setColours(colors));
    this.#colours = h(
      "fieldset", {}, h("legend", {}, "Colours"), field("Colour map", this.#map), this.#bar,
      h("label", { class: "tz-check" }, this.#reversed, "Reversed"), this.#own.element,
    );
    fill(this.#kind, KINDS.map(([kind, words]) => h("option", { value: kind }, words)));
    const stretch = h(
      "fieldset", {}, h("legend", {}, "Stretch"), field("Stretch by", this.#kind),
      h("div", { class: "tz-row" }, this.#lowField, this.#highField), this.#again,
      h(
        "div", { class: "tz-field" }, h("span", { "aria-hidden": "true" }, GAMMA),
        h("div", { class: "tz-gamma" }, this.#gamma, this.#gammaSays),
      ),
    );
    fill(this.element, layer.about.bands.length > 1 && this.#bands, stretch, this.#colours,
      this.#task.element);
    this.#end = layer.onChange((what) => {
      if (what === "look") this.#show();
    });
    this.#show();
    void this.#loadMaps();
  }

  destroy(): void {
    this.#task.stop();
    this.#end();
  }

  get #shownBands(): string[] {
    return this.layer.look.bands ?? this.layer.about.shown?.bands
      ?? this.layer.about.bands.slice(0, 1).map(({ name }) => name);
  }

  get #stretch(): Stretch {
    return stretchOf(this.layer, this.layer.look);
  }

  async #loadMaps(): Promise<void> {
    const ask = () => colormapsOf(this.layer.backend);
    await this.#task.run("Asking for colour maps", ask, (maps) => {
      this.#maps = maps;
      this.#show();
    });
  }

  // What is shown

  #show(): void {
    this.#showBands();
    const stretch = this.#stretch;
    this.#kind.value = stretch.kind;
    const words: Record<StretchKind, [string, string | null]> = {
      range: ["Lowest value", "Highest value"], percentile: ["Low, %", "High, %"],
      sd: ["Deviations", null], minmax: ["", null],
    };
    const [low, high] = words[stretch.kind];
    const value = rangeOf(this.layer.look);
    this.#lowField.hidden = low === "";
    this.#highField.hidden = high === null;
    this.#lowField.firstChild!.textContent = low;
    this.#highField.firstChild!.textContent = high;
    const [first, last] = stretch.kind === "range" && value
      ? value
      : [stretch.low ?? 2, stretch.high ?? 98];
    this.#low.value = String(Number(first.toPrecision(6)));
    this.#high.value = String(Number(last.toPrecision(6)));
    this.#again.hidden = stretch.kind === "range";
    const gamma = stretch.gamma ?? 1;
    this.#gamma.value = String(gamma);
    this.#gammaSays.textContent = number(gamma, 3);
    this.#showColours();
  }

  #showBands(): void {
    const { bands } = this.layer.about;
    const shown = this.#shownBands;
    const three = shown.length === 3;
    const mode = h("select", { onchange: () => this.#setBands(
      mode.value === "3" ? [0, 1, 2].map((i) => bands[Math.min(i, bands.length - 1)]!.name)
        : [shown[0]!],
    ) }, h("option", { value: "1" }, "One, with a colour map"),
    bands.length > 2 && h("option", { value: "3" }, "Three, as red, green and blue"));
    mode.value = three ? "3" : "1";
    const choose = (words: string, i: number) => {
      const select = h("select", { onchange: () => this.#setBands(
        shown.map((band, at) => at === i ? select.value : band),
      ) }, bands.map((band) => h("option", { value: band.name }, bandTitle(band))));
      select.value = shown[i] ?? "";
      return field(words, select);
    };
    fill(
      this.#bands, h("legend", {}, "Bands"), field("Show", mode),
      three ? ["Red", "Green", "Blue"].map(choose) : choose("Band", 0),
    );
    this.#colours.hidden = three;
  }

  #showColours(): void {
    const { colors } = this.layer.look;
    const legend = this.layer.legend();
    const own = colors !== undefined && typeof colors !== "string";
    const name = typeof colors === "string" ? colors
      : legend?.kind === "range" ? legend.name ?? NO_NAME : NO_NAME;
    const plain = name.replace(/_r$/, "");
    const names = Object.keys(this.#maps);
    const ordered = [
      ...FIRST.filter((one) => names.includes(one)), ...names.filter((one) => !FIRST.includes(one)),
    ];
    fill(
      this.#map,
      h("option", { value: NO_NAME }, "As the data say"),
      h("option", { value: OWN }, "Own colours"),
      ordered.map((one) => h("option", { value: one }, one)),
    );
    this.#map.value = own || this.#own.open ? OWN : names.includes(plain) ? plain : NO_NAME;
    this.#reversed.checked = name.endsWith("_r");
    const named = this.#maps[this.#map.value];
    this.#reversed.parentElement!.hidden = !named;
    this.#bar.hidden = !named;
    if (named) {
      const order = this.#reversed.checked ? [...named].reverse() : named;
      this.#bar.style.background = `linear-gradient(to right, ${order.join(", ")})`;
    }
    this.#own.show(this.#map.value === OWN, own ? colors : null, rangeOf(this.layer.look));
  }

  // What people do

  #setBands(bands: string[]): void {
    const { stretch, ...look } = this.layer.look;
    const changed: Look = { ...look, bands };
    if (bands.length === 3) delete changed.colors;
    if (stretch?.kind === "range" && bands.length === this.#shownBands.length) {
      this.layer.look = { ...changed, stretch };
      return;
    }
    // What another band was stretched by says nothing of this one.
    this.layer.look = changed;
    void this.#fromView(stretch && stretch.kind !== "range" ? stretch : FIRST_STRETCH);
  }

  #chooseKind(): void {
    const kind = this.#kind.value as StretchKind;
    const gamma = this.#stretch.gamma;
    const more = gamma === undefined ? {} : { gamma };
    if (kind !== "range") {
      const ends = { percentile: { low: 2, high: 98 }, sd: { low: 2 }, minmax: {} }[kind];
      void this.#fromView({ kind, ...ends, ...more });
      return;
    }
    this.#task.stop();
    const [low, high] = rangeOf(this.layer.look) ?? this.layer.about.range ?? [0, 1];
    this.layer.look = { ...this.layer.look, stretch: { kind, low, high, ...more } };
  }

  #numbers(): void {
    const [low, high] = [this.#low.valueAsNumber, this.#high.valueAsNumber];
    const { kind, gamma } = this.#stretch;
    const more = gamma === undefined ? {} : { gamma };
    const two = kind !== "sd";
    if (!Number.isFinite(low) || (two && !Number.isFinite(high))) {
      this.#task.fail(new Error("A stretch needs numbers."));
      return;
    }
    if (two && low >= high) {
      this.#task.fail(new Error("The low end must be below the high end."));
      return;
    }
    if (kind === "percentile" && (low < 0 || high > 100)) {
      this.#task.fail(new Error("Percentiles go from 0 to 100."));
      return;
    }
    this.#task.stop();
    if (kind === "range") {
      this.layer.look = { ...this.layer.look, stretch: { kind, low, high, ...more } };
    } else void this.#fromView(two ? { kind, low, high, ...more } : { kind, low, ...more });
  }

  #bend(): void {
    const gamma = Number(this.#gamma.value);
    this.#gammaSays.textContent = number(gamma, 3);
    this.layer.look = { ...this.layer.look, stretch: { ...this.#stretch, gamma } };
  }

  async #fromView(stretch: Stretch = this.#stretch): Promise<void> {
    await this.#task.run(
      "Working out the stretch",
      (signal) => stretchToView(this.view, this.layer, stretch, signal),
      (statistics) => {
        const some = statistics.bands.some((band) => band.valid > 0);
        this.#task.say(some
          ? `Statistics of the view, ${computedAt(statistics.resolution)}.`
          : "There are no data in view. Move the map to where there are, and take it again.");
      },
    );
  }

  #chooseColours(): void {
    const name = this.#map.value;
    this.#own.open = name === OWN;
    if (name === OWN) {
      this.#showColours();
      return;
    }
    this.#setColours(name === NO_NAME ? null : name + (this.#reversed.checked ? "_r" : ""));
  }

  #setColours(colors: Colors | null): void {
    const { colors: _, ...look } = this.layer.look;
    this.layer.look = colors === null ? look : { ...look, colors };
  }
}

function rangeOf(look: Look): [number, number] | null {
  return absolute(look).stretch?.per_band?.[0] ?? null;
}
