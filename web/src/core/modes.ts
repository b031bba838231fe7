/** What a press on the map means now: one thing at a time. */

import type Interaction from "ol/interaction/Interaction";
import type OlMap from "ol/Map";

/** Milliseconds; OpenLayers calls a press single after 250. */
const PRESS_OVER = 300;

/** Ends a mode: takes its interactions and listeners away. */
export type Stop = () => void;

/** Hear of the keys that are pressed while the map has the focus; a handled one goes no further. */
export function onKeys(map: OlMap, handle: (key: string) => boolean): Stop {
  const target = map.getTargetElement();
  const pressed = (event: KeyboardEvent) => {
    if (event.target !== target || !handle(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  target?.addEventListener("keydown", pressed);
  return () => target?.removeEventListener("keydown", pressed);
}

export class Modes {
  private current: { name: string; stop: Stop } | undefined;
  private readonly listeners = new Set<(name: string | null) => void>();
  private readonly escape = (event: KeyboardEvent) => {
    if (event.key === "Escape" && this.current && !event.defaultPrevented) {
      event.preventDefault();
      this.stop();
    }
  };

  /** @param root where Escape ends the mode: the element around map and panels. */
  constructor(private readonly root: HTMLElement) {
    root.addEventListener("keydown", this.escape);
  }

  /** The name of the mode, or null. */
  get name(): string | null {
    return this.current?.name ?? null;
  }

  /** Begin a mode; whatever else went on ends. */
  start(name: string, stop: Stop): void {
    this.current?.stop();
    this.current = { name, stop };
    this.tell();
  }

  /** End the mode, or only if it is the one that is named. */
  stop(name?: string): void {
    if (!this.current || (name !== undefined && name !== this.current.name)) return;
    const { stop } = this.current;
    this.current = undefined;
    stop();
    this.tell();
  }

  /**
   * End the mode that a press has finished, once the press is over: until then it means nothing
   * else, neither to the map nor to who waits for single presses.
   */
  finish(draw: Interaction): void {
    const finished = this.current;
    setTimeout(() => {
      draw.setActive(false);
      // Counted from here, where OpenLayers counts already: what is done with a shape may take long.
      setTimeout(() => {
        if (this.current === finished) this.stop();
      }, PRESS_OVER);
    });
  }

  /** Hear of every change. Returns what ends that. */
  onchange(listener: (name: string | null) => void): Stop {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** A button that begins a mode when pressed, and ends it when pressed again. */
  bind(button: HTMLButtonElement, name: string, begin: () => Stop): void {
    const show = () => button.setAttribute("aria-pressed", String(this.name === name));
    button.addEventListener("click", () => {
      if (this.name === name) this.stop(name);
      else {
        this.stop();
        this.start(name, begin());
      }
    });
    this.onchange(show);
    show();
  }

  destroy(): void {
    this.stop();
    this.listeners.clear();
    this.root.removeEventListener("keydown", this.escape);
  }

  private tell(): void {
    for (const listener of this.listeners) listener(this.name);
  }
}
