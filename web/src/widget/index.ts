/** The map in a notebook: what anywidget loads. */

import type { FeatureCollection } from "geojson";

import type { Bounds, NativeGrid } from "../core/backend";
import { inWords } from "../core/backend";
import { registerNative } from "../core/projections";
import { type Screen, mountScreen } from "../core/screen";
import { type ScreenState, validState } from "../core/state";
import { type Patch, difference, merged } from "./changes";
import { NearestBackend } from "./direct";
import { KernelExporter } from "./exporter";
import { Follower } from "./follower";
import { KernelBackend } from "./kernel";
import { join } from "./links";
import { followTheme } from "./theme";

/** What anywidget gives of the widget in the kernel. */
interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  on(event: string, listener: (...given: never[]) => void): void;
  off(event: string, listener: (...given: never[]) => void): void;
  send(message: object): void;
}

/** What the kernel sends besides answers. */
interface Told {
  apply?: Patch;
  draw?: FeatureCollection;
}

/** Members of the state's `extra` that belong to the widget. */
interface Extra {
  fit?: Bounds;
  link?: string;
  drawn?: FeatureCollection;
  projection?: NativeGrid;
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const root = document.createElement("div");
  root.className = "tz-widget";
  // The notebook's own keys end where the map begins: its arrow keys would keep sliders from moving.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
  });
  root.dataset["jpSuppressContextMenu"] = "true";
  el.append(root);
  const ends = [followTheme(root)];
  try {
    const view = new WidgetView(model, root);
    ends.push(() => view.destroy());
  } catch (error) {
    root.textContent = inWords(error);
    root.setAttribute("role", "alert");
  }
  return () => {
    for (const end of ends) end();
    root.remove();
  };
}

/** One place on a page where a map is shown. */
class WidgetView {
  readonly #model: Model;
  readonly #root: HTMLElement;
  readonly #backend: KernelBackend;
  readonly #screen: Screen;
  readonly #ends: (() => void)[] = [];
  readonly #follower: Follower;
  /** What the kernel knows of the screen. */
  #told: ScreenState;
  #link: { name: string; leave: () => void } | null = null;

  constructor(model: Model, root: HTMLElement) {
    this.#model = model;
    this.#root = root;
    const state = validState(model.get("state"));
    this.#told = state;
    this.#setHeight();
    this.#backend = new KernelBackend({
      send: (message) => model.send(message),
      listen: (listener) => listen(model, "msg:custom", listener),
    });
    const { projection, drawn } = state.extra as Extra;
    if (projection) registerNative(projection);
    const place = document.createElement("div");
    place.style.height = "100%";
    root.append(place, this.#notice());
    this.#screen = mountScreen(place, {
      backend: new NearestBackend(this.#backend),
      exporter: new KernelExporter(this.#backend),
      state: { ...state, layers: [], swipe: null },
      assets: (name) => this.#backend.ask("asset", null, { name }),
    });
    this.#follower = new Follower(this.#screen, state);
    if (drawn) this.#screen.drawing.drawn = drawn;
    this.#screen.drawing.onchange = (features) => model.send({ drawn: features });
    this.#screen.inspect.onfound = (found) => model.send({ inspected: found });
    this.#ends.push(
      this.#screen.onChange(() => this.#changed()),
      listen(model, "msg:custom", (message) => this.#take(message as Told)),
      listen(model, "change:height", () => this.#setHeight()),
      this.#screen.view.onChange((what) => {
        if (what === "moved") this.#tellBounds();
      }),
    );
    this.#follow();
  }

  destroy(): void {
    this.#link?.leave();
    for (const end of this.#ends) end();
    this.#screen.destroy();
    this.#backend.destroy();
  }

  get #extra(): Extra {
    return this.#told.extra as Extra;
  }

  /** Take over what the kernel has changed. */
  #take(told: Told): void {
    if (told.draw) this.#screen.drawing.drawn = told.draw;
    if (!told.apply) return;
    this.#keep(merged(this.#told, told.apply));
    const { projection } = this.#extra;
    if (projection) registerNative(projection);
    this.#follower.apply(told.apply);
    this.#follow();
  }

  /** Tell the kernel what somebody has changed here. */
  #changed(): void {
    const patch = difference(this.#told, this.#follower.look());
    if (!patch) return;
    this.#keep(merged(this.#told, patch));
    this.#model.send({ changed: patch });
  }

  /** Remember a state, also for the next place that shows this map; nothing is sent by it. */
  #keep(state: ScreenState): void {
    this.#told = state;
    this.#model.set("state", state);
  }

  /** Do what `extra` says. */
  #follow(): void {
    const { fit, link } = this.#extra;
    if (link !== this.#link?.name) {
      this.#link?.leave();
      this.#link = link === undefined ? null : { name: link, leave: join(link, this.#screen.view) };
    }
    if (fit) this.#fit(fit);
  }

  /** Show a place as soon as the map has a size. */
  #fit(bounds: Bounds): void {
    const size = this.#screen.view.map.getSize();
    if (!size || size[0]! < 1 || size[1]! < 1) {
      this.#screen.view.map.once("change:size", () => this.#fit(bounds));
      return;
    }
    if (this.#extra.fit !== bounds) return; // somebody said something else meanwhile
    this.#screen.view.fit(bounds);
    const { fit: _, ...extra } = this.#told.extra;
    this.#follower.apply({ extra });
    this.#keep({ ...this.#told, extra });
    this.#model.send({ changed: { extra } });
  }

  #tellBounds(): void {
    const { width, height } = this.#screen.view.bounds();
    this.#model.send({ bounds: this.#screen.view.boundsInDegrees(), width, height });
  }

  #setHeight(): void {
    this.#root.style.height = `${Number(this.#model.get("height"))}px`;
  }

  #notice(): HTMLElement {
    const notice = document.createElement("div");
    notice.className = "tz-waiting";
    notice.setAttribute("role", "status");
    notice.hidden = true;
    notice.textContent = "Waiting for the kernel: it computes, or runs a cell.";
    this.#backend.onwaiting = (waiting) => {
      notice.hidden = !waiting;
    };
    return notice;
  }
}

function listen(
  model: Model, event: string, listener: (...given: never[]) => void,
): () => void {
  model.on(event, listener);
  return () => model.off(event, listener);
}

export default { render };
