/** The divider of a map: some layers are shown on its left only, others on its right. */

import { getRenderPixel } from "ol/render";
import type RenderEvent from "ol/render/Event";

import { h } from "./dom";
import { icon } from "./icons";
import type { MapLayer } from "./layer";
import type { MapView } from "./map";

/** Share of the width that a press of an arrow key moves it by. */
const STEP = 0.02;

export class Swipe {
  /** Called when the divider is somewhere else. */
  onchange: (position: number) => void = () => undefined;
  readonly #handle = h(
    "button", {
      type: "button", role: "slider", "aria-label": "Divider", "aria-valuemin": "0",
      "aria-valuemax": "100", "aria-orientation": "horizontal",
    }, icon("swipe"),
  );
  readonly #divider = h("div", { class: "tz-swipe" }, this.#handle);
  readonly #clipped = new Map<MapLayer, () => void>();
  #position = 0.5;
  readonly #end: () => void;

  constructor(private readonly view: MapView, position = 0.5) {
    view.element.append(this.#divider);
    this.#handle.addEventListener("pointerdown", (event) => this.#drag(event));
    this.#handle.addEventListener("keydown", (event) => this.#key(event));
    this.#end = view.onChange((what) => {
      if (what === "layers") this.#watch();
    });
    this.#watch();
    this.position = position;
  }

  /** Share of the map's width that lies left of the divider. */
  get position(): number {
    return this.#position;
  }

  set position(position: number) {
    this.#position = Math.max(0, Math.min(1, position));
    const whole = Math.round(this.#position * 100);
    this.#divider.style.left = `${this.#position * 100}%`;
    this.#handle.setAttribute("aria-valuenow", String(whole));
    this.#handle.setAttribute("aria-valuetext", `${whole} % of the map is left of it`);
    this.view.map.render();
  }

  destroy(): void {
    this.#end();
    for (const end of this.#clipped.values()) end();
    this.#clipped.clear();
    this.#divider.remove();
    this.view.map.render();
  }

  #watch(): void {
    const { layers } = this.view;
    for (const [layer, end] of this.#clipped) {
      if (layers.includes(layer)) continue;
      end();
      this.#clipped.delete(layer);
    }
    for (const layer of layers) {
      if (!this.#clipped.has(layer)) this.#clipped.set(layer, this.#clip(layer));
    }
  }

  #clip(layer: MapLayer): () => void {
    let cut = false;
    const before = (event: RenderEvent) => {
      const { context } = event;
      const size = event.frameState?.size;
      cut = false;
      if (layer.side === null || !size || !(context instanceof CanvasRenderingContext2D)) return;
      cut = true;
      const at = size[0]! * this.#position;
      const [from, to] = layer.side === "left" ? [0, at] : [at, size[0]!];
      const corners = [[from, 0], [to, 0], [to, size[1]!], [from, size[1]!]];
      context.save();
      context.beginPath();
      for (const corner of corners) {
        const [x, y] = getRenderPixel(event, corner);
        context.lineTo(x!, y!);
      }
      context.closePath();
      context.clip();
    };
    const after = (event: RenderEvent) => {
      if (cut && event.context instanceof CanvasRenderingContext2D) event.context.restore();
      cut = false;
    };
    const { ol } = layer as unknown as { ol: Clippable };
    ol.on("prerender", before);
    ol.on("postrender", after);
    return () => {
      ol.un("prerender", before);
      ol.un("postrender", after);
    };
  }

  #drag(down: PointerEvent): void {
    if (down.button !== 0) return;
    this.#handle.setPointerCapture(down.pointerId);
    const { left, width } = this.view.element.getBoundingClientRect();
    const move = (event: PointerEvent) => this.#move((event.clientX - left) / width);
    const up = () => {
      this.#handle.removeEventListener("pointermove", move);
      this.#handle.removeEventListener("pointerup", up);
      this.#handle.removeEventListener("pointercancel", up);
    };
    this.#handle.addEventListener("pointermove", move);
    this.#handle.addEventListener("pointerup", up);
    this.#handle.addEventListener("pointercancel", up);
  }

  #key(event: KeyboardEvent): void {
    const to = {
      ArrowLeft: this.#position - STEP, ArrowRight: this.#position + STEP, Home: 0, End: 1,
      PageUp: this.#position + 5 * STEP, PageDown: this.#position - 5 * STEP,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.#move(to);
  }

  #move(position: number): void {
    this.position = position;
    this.onchange(this.#position);
  }
}

/** What all layers that draw on a canvas tell of. */
interface Clippable {
  on(what: "prerender" | "postrender", listener: (event: RenderEvent) => void): void;
  un(what: "prerender" | "postrender", listener: (event: RenderEvent) => void): void;
}
