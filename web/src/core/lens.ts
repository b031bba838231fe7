/** The lens: the box under the pointer, computed at native resolution. */

import type MapBrowserEvent from "ol/MapBrowserEvent";

import { inWords, isAbort } from "./backend";
import { h } from "./dom";
import { computedAt } from "./format";
import { absolute } from "./look";
import type { MapView } from "./map";
import { atHome } from "./projections";
import { metresPerPixel } from "./scale";

/** Edge of the lens, CSS pixels. */
export const EDGE = 200;

/** What the lens shows: how much ground, and in how many pixels. */
export interface LensBox {
  /** Edge of the box, map units. */
  edge: number;
  /** Edge of the box, pixels of the layer's own size. */
  pixels: number;
}

/**
 * Return the box of a lens: one pixel of the layer for each of the lens where the map is coarser
 * than the layer, else what the lens covers, in pixels as large as the layer's.
 *
 * @param native metres of a pixel of the layer.
 * @param metres metres of a pixel of the map, of `resolution` map units.
 */
export function lensBox(native: number, metres: number, resolution: number): LensBox {
  const share = native / metres;
  if (share <= 1) return { edge: EDGE * resolution * share, pixels: EDGE };
  const pixels = Math.max(1, Math.round(EDGE / share));
  return { edge: pixels * resolution * share, pixels };
}

export class Lens {
  readonly #canvas = h("canvas", { width: EDGE, height: EDGE });
  readonly #says = h("p");
  readonly #box = h("div", { class: "tz-lens", role: "status", "aria-label": "Lens" },
    this.#canvas, this.#says);
  #asking: AbortController | null = null;
  #next: number[] | null = null;
  readonly #end: () => void;
  readonly #pointed = (event: MapBrowserEvent) => this.#look(event.coordinate);

  constructor(private readonly view: MapView) {
    this.#box.style.width = `${EDGE}px`;
    this.#box.style.height = `${EDGE}px`;
    view.element.append(this.#box);
    view.map.on("pointermove", this.#pointed);
    // By keyboard the map moves under the lens, which stays in the middle.
    this.#end = view.onChange((what) => {
      if (what === "moved" || what === "layers" || what === "layer") this.#again();
    });
    this.#look(view.map.getView().getCenter()!);
  }

  destroy(): void {
    this.#asking?.abort();
    this.#end();
    this.view.map.un("pointermove", this.#pointed);
    this.#box.remove();
  }

  #at: number[] = [];

  #again(): void {
    const keyboard = document.activeElement === this.view.map.getTargetElement();
    const centre = this.view.map.getView().getCenter();
    this.#look(keyboard && centre ? centre : this.#at);
  }

  #look(at: number[]): void {
    this.#at = at;
    const pixel = this.view.map.getPixelFromCoordinate(at);
    if (pixel) {
      const [width = 0, height = 0] = this.view.map.getSize() ?? [];
      // Beside the pointer, so that what is under it stays in sight.
      const left = pixel[0]! + 16 + EDGE > width ? pixel[0]! - 16 - EDGE : pixel[0]! + 16;
      const top = pixel[1]! + 16 + EDGE > height ? pixel[1]! - 16 - EDGE : pixel[1]! + 16;
      this.#box.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
    }
    this.#next = at;
    if (!this.#asking) void this.#ask();
  }

  /** One question at a time, and always about where the pointer is last. */
  async #ask(): Promise<void> {
    while (this.#next) {
      const at = this.#next;
      this.#next = null;
      const asking = new AbortController();
      this.#asking = asking;
      try {
        await this.#compute(at, asking.signal);
      } catch (error) {
        if (isAbort(error)) return;
        this.#says.textContent = inWords(error);
      }
    }
    this.#asking = null;
  }

  async #compute([x, y]: number[], signal: AbortSignal): Promise<void> {
    const layer = this.view.rasters.filter((one) => one.visible && one.opacity > 0).at(-1);
    const context = this.#canvas.getContext("2d");
    if (!layer || !context || x === undefined || y === undefined) {
      context?.clearRect(0, 0, EDGE, EDGE);
      this.#says.textContent = "No layer to look at.";
      return;
    }
    const resolution = this.view.map.getView().getResolution() ?? 1;
    const metres = metresPerPixel(this.view);
    const { edge, pixels } = lensBox(layer.about.resolution ?? metres, metres, resolution);
    const half = edge / 2;
    const bounds = atHome([x - half, y - half, x + half, y + half], this.view.projection);
    const picture = await layer.picture("picture", {
      bounds, crs: this.view.projection, width: pixels, height: pixels, look: absolute(layer.look),
    }, signal);
    const image = await createImageBitmap(picture.blob);
    signal.throwIfAborted();
    context.clearRect(0, 0, EDGE, EDGE);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, EDGE, EDGE);
    image.close();
    this.#says.textContent = `${layer.name}, ${computedAt(picture.resolution, layer.about.resolution)}`;
  }
}
