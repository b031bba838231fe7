/** The time slider: one date for all layers that have dates, and the film of them. */

import { allDates, dateFor } from "./dates";
import { fill, h } from "./dom";
import { day } from "./format";
import { iconButton, icon } from "./icons";
import type { MapView } from "./map";
import type { RasterLayer } from "./raster";

/** Milliseconds that a date is shown at least. */
const SPEEDS: [number, string][] = [[1600, "Slow"], [800, "Medium"], [350, "Fast"]];

/** All dates of some layers, in order, each once. */
export function datesOf(layers: readonly RasterLayer[]): string[] {
  return allDates(layers.map((layer) => layer.about.dates));
}

export class Timeline {
  readonly element: HTMLElement;
  /** Called when another date is shown. */
  onchange: (time: string) => void = () => undefined;
  readonly #slider = h("input", { type: "range", min: "0", step: "1", "aria-label": "Date" });
  readonly #says = h("output");
  readonly #play = iconButton("play", "Play all dates", () => this.#toggle());
  readonly #speed = h(
    "select", { "aria-label": "Speed" },
    SPEEDS.map(([wait, words]) => h("option", { value: String(wait) }, words)),
  );
  #dates: string[] = [];
  #time: string | null;
  #playing: AbortController | null = null;
  readonly #end: () => void;

  constructor(private readonly view: MapView, time: string | null = null) {
    this.#time = time;
    this.#speed.value = "800";
    this.#slider.addEventListener("input", () => {
      this.#stop();
      this.#go(Number(this.#slider.value));
    });
    this.element = h(
      "div", { class: "tz-time", role: "group", "aria-label": "Time" },
      iconButton("earlier", "Earlier date", () => this.#step(-1)), this.#play,
      iconButton("later", "Later date", () => this.#step(1)), this.#slider,
      h("div", { class: "tz-time-end" }, this.#says, this.#speed),
    );
    this.#end = view.onChange((what) => {
      if (what === "layers") this.#collect();
    });
    this.#collect();
  }

  /** The date that is shown; null without any. */
  get time(): string | null {
    return this.#time;
  }

  set time(time: string | null) {
    this.#time = time;
    this.#apply();
    this.#show();
  }

  destroy(): void {
    this.#stop();
    this.#end();
  }

  get #at(): number {
    const shown = this.#time === null ? null : dateFor(this.#dates, this.#time);
    return shown === null ? this.#dates.length - 1 : this.#dates.indexOf(shown);
  }

  #collect(): void {
    this.#dates = datesOf(this.view.rasters);
    if (this.#time !== null) this.#apply();
    this.#show();
  }

  #apply(): void {
    if (this.#time === null) return;
    for (const layer of this.view.rasters) {
      const date = dateFor(layer.about.dates, this.#time);
      if (!layer.pinned && date !== null && date !== layer.time) layer.time = date;
    }
  }

  #show(): void {
    const { length } = this.#dates;
    this.element.hidden = length < 2;
    this.#slider.max = String(length - 1);
    this.#slider.value = String(this.#at);
    const words = day(this.#dates[this.#at]);
    this.#says.textContent = words;
    this.#slider.setAttribute("aria-valuetext", `${words}, ${this.#at + 1} of ${length}`);
  }

  #go(at: number): void {
    this.#time = this.#dates[at] ?? null;
    this.#apply();
    this.#show();
    if (this.#time !== null) this.onchange(this.#time);
  }

  #step(by: number): void {
    this.#stop();
    this.#go(Math.max(0, Math.min(this.#dates.length - 1, this.#at + by)));
  }

  #toggle(): void {
    if (this.#playing) this.#stop();
    else void this.#run();
  }

  /** Show date after date, each until it is whole and has been seen. */
  async #run(): Promise<void> {
    const playing = new AbortController();
    this.#playing = playing;
    this.#face("pause", "Pause");
    while (!playing.signal.aborted) {
      this.#go((this.#at + 1) % this.#dates.length);
      const wait = Number(this.#speed.value);
      const seen = new Promise((resolve) => setTimeout(resolve, wait));
      try {
        await this.view.settled(playing.signal);
      } catch {
        return; // stopped
      }
      await seen;
    }
  }

  #stop(): void {
    this.#playing?.abort();
    this.#playing = null;
    this.#face("play", "Play all dates");
  }

  #face(name: "play" | "pause", label: string): void {
    fill(this.#play, icon(name));
    this.#play.title = label;
    this.#play.setAttribute("aria-label", label);
  }
}
