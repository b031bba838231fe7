/** Which layer a tool works on. */

import type { Band } from "./backend";
import { fill, h } from "./dom";
import { bandName } from "./format";
import type { MapView, Shown } from "./map";
import type { RasterLayer } from "./raster";

/** A field that offers the raster layers of a map, the topmost first. */
export class LayerChoice {
  /** The field with its label. */
  readonly element: HTMLElement;
  private readonly select = h("select", { onchange: () => this.chosen() });
  private offered: readonly RasterLayer[] = [];

  /**
   * @param fits which layers are offered.
   * @param chosen called when a person chooses another.
   */
  constructor(
    private readonly view: MapView,
    private readonly fits: (layer: RasterLayer) => boolean,
    private readonly chosen: () => void,
  ) {
    this.element = field("Layer", this.select);
    this.element.classList.add("tz-wide");
    this.refresh();
  }

  /** Offer what there is now; what was chosen stays chosen while it is there. */
  refresh(): void {
    const before = this.select.value;
    this.offered = [...this.view.rasters].reverse().filter(this.fits);
    fill(
      this.select,
      this.offered.map((one) => h("option", { value: one.key }, one.name)),
    );
    if (this.offered.some((one) => one.key === before)) this.select.value = before;
  }

  /** Choose a layer by its key, if it is offered. */
  choose(key: string): void {
    if (this.offered.some((one) => one.key === key)) this.select.value = key;
  }

  /** The layer; undefined when none fits. */
  get layer(): RasterLayer | undefined {
    return this.offered.find((one) => one.key === this.select.value);
  }
}

/** A control with its label above it. */
export function field(text: string, control: HTMLElement): HTMLLabelElement {
  return h("label", { class: "tz-field" }, h("span", {}, text), control);
}

/** A button with words on it. */
export function button(text: string, onclick?: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "tz-button", onclick }, text);
}

/** The same view in at most `side` pixels a side. */
export function sampled(shown: Shown, side: number): Shown {
  const shrink = Math.min(1, side / Math.max(shown.width, shown.height));
  return {
    ...shown,
    width: Math.max(1, Math.round(shown.width * shrink)),
    height: Math.max(1, Math.round(shown.height * shrink)),
  };
}

/** Offer bands by name, where there is more than one; what was chosen stays chosen. */
export function offerBands(select: HTMLSelectElement, bands: readonly Band[]): void {
  const before = select.value;
  fill(
    select,
    bands.map((one) => h("option", { value: one.name }, one.title || bandName(one.name))),
  );
  if (bands.some((one) => one.name === before)) select.value = before;
  const around = select.closest("label");
  if (around) around.hidden = bands.length < 2;
}
