/** The search for places, all offline: names of the gazetteer, and coordinates. */

import type { Backend, Bounds } from "./backend";
import { fill, h } from "./dom";
import { number, place } from "./format";
import type { MapView } from "./map";
import { Task } from "./task";

/** A place that was found. */
export interface Place {
  name: string;
  country?: string | null;
  lon: number;
  lat: number;
  kind?: string | null;
  population?: number | null;
  bounds?: Bounds | null;
}

const PAUSE = 200;
/** Metres across that are shown around a place without bounds. */
const AROUND = 15_000;
let boxes = 0;

/** Longitude and latitude from text such as "45.07, 7.68" (latitude first) or "7.68 E 45.07 N". */
export function coordinates(text: string): { lon: number; lat: number } | null {
  const sided = [...text.matchAll(/(\d+(?:\.\d+)?)\s*°?\s*([NSEW])/gi)];
  if (sided.length === 2) {
    const of = (sides: string) => {
      const found = sided.find((one) => sides.includes(one[2]!.toUpperCase()));
      return found ? Number(found[1]) * (/[SW]/i.test(found[2]!) ? -1 : 1) : Number.NaN;
    };
    return onEarth(of("EW"), of("NS"));
  }
  const plain = /^\s*([+-]?\d+(?:\.\d+)?)\s*[,;\s]\s*([+-]?\d+(?:\.\d+)?)\s*$/.exec(text);
  return plain ? onEarth(Number(plain[2]), Number(plain[1])) : null;
}

function onEarth(lon: number, lat: number): { lon: number; lat: number } | null {
  return Math.abs(lon) <= 180 && Math.abs(lat) <= 90 ? { lon, lat } : null;
}

/** A box to type a name into, with the places found below it. */
export class Places {
  readonly element: HTMLElement;
  /** Called with the place that was chosen, after the map went there. */
  onplace: (found: Place) => void = () => undefined;
  private readonly name = `tz-places-${(boxes += 1)}`;
  private readonly list = h("ul", {
    role: "listbox",
    id: this.name,
    class: "tz-options",
    hidden: true,
    "aria-label": "Places found",
  });
  private readonly input = h("input", {
    type: "search",
    placeholder: "Place, or latitude, longitude",
    autocomplete: "off",
    spellcheck: false,
    role: "combobox",
    "aria-label": "Search a place",
    "aria-expanded": "false",
    "aria-autocomplete": "list",
    "aria-controls": this.name,
    oninput: () => this.later(),
    onkeydown: (event: KeyboardEvent) => this.key(event),
    onblur: () => setTimeout(() => this.close(), PAUSE),
  });
  private readonly task = new Task();
  private found: readonly Place[] = [];
  private at = -1;
  private waiting: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly view: MapView,
    private readonly backend: Backend = view.backend,
  ) {
    this.element = h(
      "div",
      { class: "tz-places", role: "search" },
      this.input,
      this.list,
      this.task.element,
    );
  }

  destroy(): void {
    clearTimeout(this.waiting);
    this.task.stop();
    this.element.remove();
  }

  /** Show a place on the map. */
  go(found: Place): void {
    const north = AROUND / 2 / 111_000;
    const east = north / Math.max(0.05, Math.cos((found.lat * Math.PI) / 180));
    this.view.fit(
      found.bounds ?? [found.lon - east, found.lat - north, found.lon + east, found.lat + north],
    );
    this.input.value = found.name;
    this.close();
    this.onplace(found);
  }

  private later(): void {
    clearTimeout(this.waiting);
    this.task.stop();
    this.waiting = setTimeout(() => this.ask(), PAUSE);
  }

  private ask(): void {
    clearTimeout(this.waiting);
    const text = this.input.value.trim();
    const point = coordinates(text);
    if (point) {
      this.offer([{ name: place(point.lon, point.lat), kind: "coordinates", ...point }]);
      return;
    }
    if (text.length < 2) {
      this.close();
      return;
    }
    void this.task.run(
      "Searching",
      (signal) => this.backend.ask<{ places: Place[] }>("places", null, { q: text }, signal),
      ({ places }) => {
        this.offer(places);
        if (!places.length)
          this.task.say(`No place is called "${text}" here. Try another spelling, or coordinates.`);
      },
    );
  }

  private offer(found: readonly Place[]): void {
    this.found = found;
    this.at = found.length ? 0 : -1;
    fill(
      this.list,
      found.map((one, at) =>
        h(
          "li",
          {
            role: "option",
            id: `${this.name}-${at}`,
            onclick: () => this.go(one),
            onmousedown: (event: MouseEvent) => event.preventDefault(),
          },
          h("span", {}, one.name),
          h("small", {}, about(one)),
        ),
      ),
    );
    this.list.hidden = !found.length;
    this.input.setAttribute("aria-expanded", String(found.length > 0));
    this.mark();
  }

  private close(): void {
    this.offer([]);
  }

  private key(event: KeyboardEvent): void {
    const open = this.found.length > 0;
    if (event.key === "Escape" && open) this.close();
    else if (event.key === "Enter") this.enter();
    else if (event.key === "ArrowDown" && open) this.at = (this.at + 1) % this.found.length;
    else if (event.key === "ArrowUp" && open)
      this.at = (this.at + this.found.length - 1) % this.found.length;
    else return;
    event.preventDefault();
    this.mark();
  }

  private enter(): void {
    const chosen = this.found[this.at];
    if (chosen) this.go(chosen);
    else this.ask();
  }

  private mark(): void {
    [...this.list.children].forEach((option, at) => {
      option.setAttribute("aria-selected", String(at === this.at));
      if (at === this.at) option.scrollIntoView({ block: "nearest" });
    });
    if (this.at < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `${this.name}-${this.at}`);
  }
}

function about(found: Place): string {
  const people = found.population ? `${number(found.population, 4)} people` : "";
  const kind = found.kind === "place" ? "" : found.kind;
  return [kind, found.country, people].filter(Boolean).join(", ");
}
