/** Comparing layers: a divider on the map, two maps that move together, and the lens. */

import { Basemap, type Assets } from "./basemap";
import { field } from "./choice";
import { fill, h } from "./dom";
import type { MapLayer } from "./layer";
import { Lens } from "./lens";
import { linkViews } from "./link";
import { MapView } from "./map";
import type { SwipeState } from "./state";
import { Swipe } from "./swipe";

const BOTH = "";

/** What a person chose, kept in the state; null when nothing is compared. */
type Chosen = SwipeState | null;

export class Compare {
  readonly element = h("div");
  /** Called when something else is compared, or the divider is elsewhere. */
  onchange: () => void = () => undefined;
  readonly #mode = h(
    "select", { onchange: () => this.#choose() }, h("option", { value: "" }, "Nothing"),
    h("option", { value: "swipe" }, "A divider on the map"),
    h("option", { value: "beside" }, "Two maps side by side"),
  );
  readonly #left = h("select", { onchange: () => this.#choose() });
  readonly #right = h("select", { onchange: () => this.#choose() });
  readonly #sides = h("div", { class: "tz-look" }, field("Left", this.#left),
    field("Right", this.#right));
  readonly #lensBox = h("input", { type: "checkbox", onchange: () => this.#look() });
  readonly #few = h("p", { class: "tz-muted" }, "Comparing needs two layers.");
  #chosen: Chosen = null;
  #swipe: Swipe | null = null;
  #beside: Beside | null = null;
  #lens: Lens | null = null;
  readonly #end: () => void;

  /** @param host where a second map is put. */
  constructor(
    private readonly view: MapView, private readonly host: HTMLElement,
    private readonly assets: Assets, private readonly base: () => string,
  ) {
    fill(
      this.element, this.#few, field("Compare with", this.#mode), this.#sides,
      h("label", { class: "tz-check" }, this.#lensBox, "Lens: native resolution under the pointer"),
    );
    this.#end = view.onChange((what) => {
      if (what === "layers") this.#show();
      if (what === "layers" || what === "layer") this.#beside?.follow();
    });
    this.#show();
  }

  get state(): Chosen {
    if (!this.#chosen) return null;
    return { ...this.#chosen, position: this.#swipe?.position ?? this.#chosen.position };
  }

  set state(state: Chosen) {
    this.#chosen = state;
    this.#apply();
  }

  destroy(): void {
    this.#end();
    this.#lens?.destroy();
    this.#swipe?.destroy();
    this.#beside?.destroy();
  }

  #choose(): void {
    const mode = this.#mode.value as "" | "swipe" | "beside";
    const { layers } = this.view;
    const pair = [layers.at(-1)?.key, layers.at(-2)?.key];
    const before = this.#chosen ?? { left: pair.slice(0, 1), right: pair.slice(1) };
    const chosen = (select: HTMLSelectElement, was: (string | undefined)[]) =>
      this.#chosen ? (select.value === BOTH ? [] : [select.value])
        : was.filter((key) => key !== undefined);
    this.#chosen = mode === "" ? null : {
      mode, position: this.#swipe?.position ?? 0.5,
      left: chosen(this.#left, before.left), right: chosen(this.#right, before.right),
    };
    this.#apply();
    this.onchange();
  }

  #apply(): void {
    const chosen = this.#chosen;
    for (const layer of this.view.layers) {
      const side = chosen?.left.includes(layer.key) ? "left"
        : chosen?.right.includes(layer.key) ? "right" : null;
      if (layer.side !== side) layer.side = side;
    }
    if (chosen?.mode === "swipe") {
      this.#swipe ??= new Swipe(this.view);
      this.#swipe.position = chosen.position;
      this.#swipe.onchange = () => this.onchange();
    } else {
      this.#swipe?.destroy();
      this.#swipe = null;
    }
    if (chosen?.mode === "beside") {
      this.#beside ??= new Beside(this.view, this.host, this.assets, this.base);
      this.#beside.follow();
    } else {
      this.#beside?.destroy();
      this.#beside = null;
    }
    this.view.changed("swipe");
    this.#show();
  }

  #show(): void {
    const layers = [...this.view.layers].reverse();
    const chosen = this.#chosen;
    this.#few.hidden = layers.length > 1;
    this.#mode.disabled = layers.length < 2 && !chosen;
    this.#mode.value = chosen?.mode ?? "";
    this.#sides.hidden = !chosen;
    const both = [[this.#left, chosen?.left], [this.#right, chosen?.right]] as const;
    for (const [select, keys] of both) {
      fill(
        select, h("option", { value: BOTH }, "What both sides show"),
        layers.map((layer) => h("option", { value: layer.key }, layer.name)),
      );
      select.value = keys?.find((key) => this.view.layer(key)) ?? BOTH;
    }
  }

  #look(): void {
    this.#lens?.destroy();
    this.#lens = this.#lensBox.checked ? new Lens(this.view) : null;
  }
}

/** A second map on the right, with the layers of the right side; the first hides them. */
class Beside {
  readonly #element = h("div", { class: "tz-beside" });
  readonly #view: MapView;
  readonly #basemap: Basemap;
  readonly #unlink: () => void;
  readonly #copies = new Map<MapLayer, { copy: MapLayer; look: string }>();

  constructor(
    private readonly first: MapView, host: HTMLElement, assets: Assets, base: () => string,
  ) {
    host.append(this.#element);
    host.classList.add("tz-two");
    this.#view = new MapView(this.#element, first.backend, first.view);
    this.#basemap = new Basemap(this.#view, assets);
    void this.#basemap.show(base());
    this.#unlink = linkViews(first, this.#view);
  }

  /** Show what the layers of the first map are like now. */
  follow(): void {
    const { layers } = this.first;
    for (const [layer, { copy }] of this.#copies) {
      if (layers.includes(layer) && layer.side !== "left") continue;
      this.#view.remove(copy);
      this.#copies.delete(layer);
    }
    let at = 0;
    for (const layer of layers) {
      layer.ol.setVisible(layer.visible && layer.side !== "right");
      if (layer.side === "left") continue;
      this.#match(layer, at);
      at += 1;
    }
  }

  #match(layer: MapLayer, at: number): void {
    const look = JSON.stringify("look" in layer ? layer.look : null);
    let known = this.#copies.get(layer);
    if (!known) {
      const copy = layer.copy();
      known = { copy, look };
      this.#copies.set(layer, known);
      this.#view.add(copy, at);
    }
    const { copy } = known;
    if (this.#view.layers.indexOf(copy) !== at) this.#view.move(copy, at);
    if (copy.visible !== layer.visible) copy.visible = layer.visible;
    if (copy.opacity !== layer.opacity) copy.opacity = layer.opacity;
    if (known.look !== look && "look" in layer && "look" in copy) {
      known.look = look;
      copy.look = layer.look;
    }
  }

  destroy(): void {
    this.#unlink();
    this.#basemap.destroy();
    this.#view.destroy();
    this.#element.parentElement?.classList.remove("tz-two");
    this.#element.remove();
    for (const layer of this.first.layers) layer.ol.setVisible(layer.visible);
  }
}
