/** The legend on the map: what the colours of the topmost layer mean, with all panels closed. */

import { fill, h } from "./dom";
import { drawLegend } from "./legend";
import type { MapView } from "./map";

/** Narrower maps begin with the legend folded, CSS pixels. */
const NARROW = 640;

export class MapLegend {
  readonly #name = h("summary");
  readonly #body = h("div");
  readonly element = h("details", { class: "tz-map-legend" }, this.#name, this.#body);
  readonly #end: () => void;
  #drawn: unknown = null;

  constructor(private readonly view: MapView) {
    this.element.open = view.element.clientWidth > NARROW;
    this.#end = view.onChange((what) => {
      if (what === "layers" || what === "layer") this.#show();
    });
    this.#show();
  }

  destroy(): void {
    this.#end();
  }

  #show(): void {
    const top = this.view.rasters.filter((layer) => layer.visible && layer.opacity > 0).at(-1);
    const legend = top?.legend() ?? null;
    this.element.hidden = !top || !legend;
    if (!top || !legend) return;
    this.#name.textContent = top.name;
    if (legend === this.#drawn) return;
    this.#drawn = legend;
    fill(this.#body, drawLegend(legend, top.unit));
  }
}
