/** The line under the map: scale, place, the resolution computed at, and whose data these are. */

import type MapBrowserEvent from "ol/MapBrowserEvent";

import type { Basemap } from "./basemap";
import { h } from "./dom";
import { computedAt, place } from "./format";
import type { MapView } from "./map";
import { pointToDegrees } from "./projections";
import { barOf, metresPerPixel } from "./scale";

const LONGEST_BAR = 110;

export class Foot {
  readonly element: HTMLElement;
  readonly #bar = h("span", { "aria-hidden": "true" });
  readonly #length = h("span");
  readonly #scale = h("span", { class: "tz-scale" }, this.#bar, this.#length);
  readonly #where = h("span", { class: "tz-where" });
  readonly #computed = h("span", { class: "tz-computed" });
  readonly #sources = h("span", { class: "tz-sources" });
  readonly #ends: (() => void)[];

  constructor(private readonly view: MapView, private readonly basemap: Basemap) {
    this.element = h(
      "div", { class: "tz-foot" }, this.#scale, this.#where, this.#computed, this.#sources,
    );
    const pointed = (event: MapBrowserEvent) => this.#point(event.coordinate);
    view.map.on("pointermove", pointed);
    this.#ends = [
      () => view.map.un("pointermove", pointed),
      view.onChange((what) => {
        if (what === "moved" || what === "projection") {
          this.#point(view.map.getView().getCenter());
          this.#measure();
        }
        this.#tell();
      }),
    ];
    this.#measure();
    this.#tell();
  }

  destroy(): void {
    for (const end of this.#ends) end();
  }

  #measure(): void {
    const metres = metresPerPixel(this.view);
    const usable = Number.isFinite(metres) && metres > 0;
    this.#scale.hidden = !usable;
    if (!usable) return;
    const bar = barOf(metres, LONGEST_BAR);
    this.#bar.style.width = `${Math.round(bar.pixels)}px`;
    this.#length.textContent = bar.label;
  }

  #point(coordinate: number[] | undefined): void {
    if (!coordinate) return;
    const [lon, lat] = pointToDegrees(coordinate as [number, number], this.view.projection);
    const there = Number.isFinite(lon) && Number.isFinite(lat) && Math.abs(lat) <= 90;
    this.#where.textContent = there ? place(lon - 360 * Math.round(lon / 360), lat) : "";
  }

  #tell(): void {
    const shown = this.view.rasters.filter((layer) => layer.visible && layer.opacity > 0);
    const top = shown.filter((layer) => layer.resolution !== null).at(-1);
    this.#computed.textContent = top ? `${top.name}: ${computedAt(top.resolution, top.about.resolution)}` : "";
    const names = [
      ...this.view.layers.filter((layer) => layer.visible).flatMap((layer) => layer.sources),
      this.basemap.attribution,
    ];
    this.#sources.textContent = [...new Set(names.filter((name) => name !== ""))].join(" · ");
  }
}
