/** Keeps a screen as a state says, and a state as a screen is, without opening anew what is there. */

import { type Look, inWords, isAbort } from "../core/backend";
import { type MapLayer, VectorLayer } from "../core/layer";
import { needsStatistics } from "../core/look";
import { RasterLayer } from "../core/raster";
import type { Screen } from "../core/screen";
import type { LayerState, ScreenState } from "../core/state";
import { stretchToView } from "../core/stretch";
import { type Patch, merged } from "./changes";

export class Follower {
  readonly #screen: Screen;
  /** Layers that are being opened, and those that could not be: they belong to the state, too. */
  readonly #opening = new Set<string>();
  readonly #failed = new Set<string>();
  #state: ScreenState;

  /** @param state what the screen shall be; it was mounted without layers. */
  constructor(screen: Screen, state: ScreenState) {
    this.#screen = screen;
    this.#state = { ...state, layers: [], swipe: null };
    this.apply({
      layers: { set: Object.fromEntries(state.layers.map((layer) => [layer.key, layer])) },
      swipe: state.swipe,
    });
  }

  get state(): ScreenState {
    return this.#state;
  }

  /** Take over what people did on the screen; returns the state. */
  look(): ScreenState {
    const seen = this.#screen.state;
    const shown = new Map(seen.layers.map((layer) => [layer.key, layer]));
    const before = this.#state.layers;
    const kept = before.filter(({ key }) => shown.has(key) || this.#absent(key));
    const order = kept.filter(({ key }) => shown.has(key)).map(({ key }) => key);
    const known = new Set(before.map(({ key }) => key));
    // What comes while others are being opened is not where it belongs yet.
    const moved = !this.#opening.size && order.join() !== seen.layers.map(({ key }) => key)
      .filter((key) => known.has(key)).join();
    const absent = before.filter(({ key }) => this.#absent(key) && !shown.has(key));
    const layers = moved
      ? [...seen.layers, ...absent]
      : [
        ...kept.map((layer) => shown.get(layer.key) ?? layer),
        ...seen.layers.filter(({ key }) => !known.has(key)),
      ];
    // Sides are told when both are there: what is being opened is on none yet.
    const swipe = this.#opening.size ? this.#state.swipe : seen.swipe;
    this.#state = { ...seen, layers, swipe, extra: this.#state.extra };
    return this.#state;
  }

  /** Take over a change. */
  apply(patch: Patch): void {
    this.#state = merged(this.#state, patch);
    const screen = this.#screen;
    if (patch.view) screen.view.setView(patch.view);
    if (patch.basemap !== undefined) void screen.basemap.show(patch.basemap);
    for (const [key, members] of Object.entries(patch.layers?.set ?? {})) {
      const layer = screen.view.layer(key);
      if (layer) this.#change(layer, members);
      else if ("kind" in members && !this.#opening.has(key)) void this.#open(key);
    }
    if (patch.layers) this.#arrange();
    if (patch.time !== undefined) screen.timeline.time = patch.time;
    if (patch.swipe !== undefined && !this.#opening.size) screen.compare.state = patch.swipe;
  }

  async #open(key: string): Promise<void> {
    const asked = this.#find(key);
    if (!asked) return;
    this.#opening.add(key);
    try {
      const layer = await this.#screen.add(asked);
      const now = this.#find(key);
      if (now) this.#change(layer, now);
    } catch (error) {
      this.#failed.add(key);
      if (!isAbort(error)) this.#screen.tell(`"${asked.name}" cannot be shown. ${inWords(error)}`);
    }
    this.#arrange(); // takes it away again if it was removed meanwhile
    if (this.#opening.size === 1) this.#screen.compare.state = this.#state.swipe;
    this.#opening.delete(key);
  }

  #absent(key: string): boolean {
    return this.#opening.has(key) || this.#failed.has(key);
  }

  #find(key: string): LayerState | undefined {
    return this.#state.layers.find((layer) => layer.key === key);
  }

  /** Give the layers the order of the state, and take away what it does not have. */
  #arrange(): void {
    const { view } = this.#screen;
    const order = this.#state.layers.map(({ key }) => key);
    for (const layer of [...view.layers]) if (!order.includes(layer.key)) view.remove(layer);
    for (const key of [...this.#failed]) if (!order.includes(key)) this.#failed.delete(key);
    order.filter((key) => view.layer(key)).forEach((key, i) => {
      const layer = view.layer(key)!;
      if (view.layers.indexOf(layer) !== i) view.move(layer, i);
    });
  }

  /** Give a layer the members that it does not have yet. */
  #change(layer: MapLayer, members: Partial<LayerState>): void {
    const { name, visible, opacity } = members;
    if (name !== undefined && name !== layer.name) layer.name = name;
    if (visible !== undefined && visible !== layer.visible) layer.visible = visible;
    if (opacity !== undefined && opacity !== layer.opacity) layer.opacity = opacity;
    const { look, data } = members as { look?: Look; data?: VectorLayer["data"] };
    if (layer instanceof RasterLayer && look && !same(look, layer.look)) this.#show(layer, look);
    if (layer instanceof VectorLayer && data && data !== layer.data) layer.data = data;
  }

  #show(layer: RasterLayer, look: Look): void {
    layer.look = look;
    if (!look.stretch || !needsStatistics(look.stretch)) return;
    stretchToView(this.#screen.view, layer, look.stretch).catch((error: unknown) => {
      if (!isAbort(error)) this.#screen.tell(inWords(error));
    });
  }
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
