/** The list of layers: what is shown, how strongly, in which order, and what its colours mean. */

import type { Bounds } from "./backend";
import { field } from "./choice";
import { fill, h } from "./dom";
import { computedAt, day, percent } from "./format";
import { iconButton } from "./icons";
import type { MapLayer } from "./layer";
import { drawLegend } from "./legend";
import type { MapView } from "./map";
import { RasterLayer } from "./raster";
import { LookPanel } from "./stretch";

const FOLLOWS = "";

export class LayerList {
  readonly element = h("div", { class: "tz-look" });
  readonly #rows = new Map<MapLayer, LayerRow>();
  readonly #list = h("ol", { class: "tz-layers", "aria-label": "Layers, the topmost first" });
  readonly #none = h("p", { class: "tz-muted" }, "No layers yet.");
  readonly #end: () => void;

  constructor(private readonly view: MapView) {
    fill(this.element, this.#none, this.#list);
    this.#end = view.onChange((what) => {
      if (what === "layers") this.#arrange();
    });
    this.#arrange();
  }

  destroy(): void {
    this.#end();
    for (const row of this.#rows.values()) row.destroy();
  }

  #arrange(): void {
    const layers = [...this.view.layers].reverse();
    for (const [layer, row] of this.#rows) {
      if (!layers.includes(layer)) {
        row.destroy();
        this.#rows.delete(layer);
      }
    }
    const rows = layers.map((layer) => {
      const row = this.#rows.get(layer) ?? new LayerRow(this.view, layer);
      this.#rows.set(layer, row);
      return row.element;
    });
    const focused = document.activeElement;
    // What is in its place stays there: moving an element takes its focus.
    rows.forEach((row, i) => {
      const there = this.#list.children[i];
      if (there !== row) this.#list.insertBefore(row, there ?? null);
    });
    while (this.#list.children.length > rows.length) this.#list.lastChild!.remove();
    if (focused instanceof HTMLElement && this.#list.contains(focused)) focused.focus();
    this.#none.hidden = rows.length > 0;
    for (const row of this.#rows.values()) row.place();
  }
}

class LayerRow {
  readonly element: HTMLLIElement;
  readonly #shown = h("input", { type: "checkbox" });
  readonly #opacity = h("input", { type: "range", min: "0", max: "1", step: "0.01" });
  readonly #opacitySays = h("output");
  readonly #name = h("span", { class: "tz-layer-name" });
  readonly #legend = h("div");
  readonly #computed = h("p", { class: "tz-small tz-muted" });
  readonly #error = h("p", { class: "tz-small tz-error", role: "alert" });
  readonly #up: HTMLButtonElement;
  readonly #down: HTMLButtonElement;
  #look: LookPanel | null = null;
  #date: HTMLSelectElement | null = null;
  readonly #end: () => void;

  constructor(private readonly view: MapView, private readonly layer: MapLayer) {
    const { name } = layer;
    this.#shown.addEventListener("change", () => (layer.visible = this.#shown.checked));
    this.#opacity.addEventListener("input", () => (layer.opacity = Number(this.#opacity.value)));
    this.#opacity.setAttribute("aria-label", `Opacity of ${name}`);
    this.#up = iconButton("up", `Move ${name} up`, () => this.#move(1));
    this.#down = iconButton("down", `Move ${name} down`, () => this.#move(-1));
    this.element = h(
      "li", { class: "tz-layer" },
      h("label", { class: "tz-layer-head" }, this.#shown, this.#name),
      h(
        "div", { class: "tz-opacity" }, h("span", { "aria-hidden": "true" }, "Opacity"),
        this.#opacity, this.#opacitySays,
      ),
      this.#legend, layer instanceof RasterLayer && this.#dateField(layer), this.#computed,
      this.#error,
      h(
        "div", { class: "tz-layer-tools" }, this.#up, this.#down,
        iconButton("find", `Show all of ${name}`, () => this.#find()),
        iconButton("bin", `Remove ${name}`, () => this.#remove()),
      ),
      layer instanceof RasterLayer && this.#lookDetails(layer),
    );
    this.#end = layer.onChange(() => this.#show());
    this.#show();
  }

  destroy(): void {
    this.#end();
    this.#look?.destroy();
  }

  /** The layer is where it is now: the ends of the list go no farther. */
  place(): void {
    const at = this.view.layers.indexOf(this.layer);
    this.#up.disabled = at === this.view.layers.length - 1;
    this.#down.disabled = at === 0;
  }

  #show(): void {
    const { layer } = this;
    this.#name.textContent = layer.name;
    this.#shown.checked = layer.visible;
    this.#opacity.value = String(layer.opacity);
    this.#opacitySays.textContent = percent(layer.opacity);
    this.#error.textContent = layer.error;
    this.#error.hidden = !layer.error;
    const legend = layer.kind === "vector" || layer.kind === "features" ? null : layer.legend();
    const raster = layer instanceof RasterLayer ? layer : null;
    fill(this.#legend, legend && drawLegend(legend, raster?.unit));
    if (this.#date && raster) this.#date.value = raster.pinned ? raster.time ?? FOLLOWS : FOLLOWS;
    this.#computed.hidden = !raster?.resolution;
    if (raster?.resolution) {
      this.#computed.textContent = `On the screen: ${computedAt(raster.resolution, raster.about.resolution)}`;
    }
  }

  /** One date of the layer for good, or the one of the time slider. */
  #dateField(layer: RasterLayer): HTMLElement | null {
    const { dates } = layer.about;
    if (dates.length < 2) return null;
    const select = h(
      "select", { onchange: () => {
        layer.pinned = select.value !== FOLLOWS;
        if (layer.pinned) layer.time = select.value;
        else this.view.changed("layers"); // the time slider shows its date again
      } },
      h("option", { value: FOLLOWS }, "As the time slider"),
      dates.map((date) => h("option", { value: date }, day(date))),
    );
    this.#date = select;
    return field("Date", select);
  }

  #lookDetails(layer: RasterLayer): HTMLDetailsElement {
    const details = h("details", {}, h("summary", {}, "Bands, stretch and colours"));
    details.addEventListener("toggle", () => {
      this.#look?.destroy();
      this.#look?.element.remove();
      this.#look = details.open ? new LookPanel(this.view, layer) : null;
      if (this.#look) details.append(this.#look.element);
    });
    return details;
  }

  #move(by: number): void {
    this.view.move(this.layer, this.view.layers.indexOf(this.layer) + by);
  }

  #find(): void {
    const bounds: Bounds | null = this.layer.bounds;
    if (bounds) this.view.fit(bounds);
  }

  #remove(): void {
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.view.remove(this.layer);
    next?.querySelector("input")?.focus();
  }
}
