/** What the map itself is like: basemap and projection. */

import { BASEMAPS, type Basemap } from "./basemap";
import { field } from "./choice";
import { fill, h } from "./dom";
import { inWords } from "./backend";
import type { MapView } from "./map";
import { choices } from "./projections";

export class MapPanel {
  readonly element = h("div");
  readonly #base = h("select", { onchange: () => void this.#setBase() });
  readonly #projection = h("select", { onchange: () => this.#setProjection() });
  readonly #error = h("p", { class: "tz-error", role: "alert" });
  readonly #note = h(
    "p", { class: "tz-muted tz-small" },
    "Online maps are fetched from their own hosts, which learn what you look at.",
  );
  readonly #end: () => void;

  constructor(private readonly view: MapView, private readonly basemap: Basemap) {
    fill(this.#base, BASEMAPS.map(({ name, title }) => h("option", { value: name }, title)));
    fill(
      this.element, field("Basemap", this.#base), this.#note, field("Projection", this.#projection),
      this.#error,
    );
    this.#end = view.onChange((what) => {
      if (what === "layers" || what === "projection" || what === "basemap") this.#show();
    });
    this.#show();
  }

  destroy(): void {
    this.#end();
  }

  #show(): void {
    this.#base.value = this.basemap.name;
    const offered = choices(this.view.rasters.map(({ about }) => about));
    const now = this.view.projection;
    if (!offered.some(({ code }) => code === now)) offered.push({ code: now, title: now });
    fill(
      this.#projection, offered.map(({ code, title }) => h("option", { value: code }, title)),
    );
    this.#projection.value = now;
    this.#error.textContent = this.basemap.error;
    this.#error.hidden = !this.basemap.error;
  }

  async #setBase(): Promise<void> {
    await this.basemap.show(this.#base.value);
    this.#show();
  }

  #setProjection(): void {
    try {
      this.view.setProjection(this.#projection.value);
    } catch (error) {
      this.#show();
      this.#error.textContent = inWords(error);
      this.#error.hidden = false;
    }
  }
}
