/** A press on the map: what every layer has there. */

import Feature from "ol/Feature";
import type MapBrowserEvent from "ol/MapBrowserEvent";
import Point from "ol/geom/Point";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import { h } from "./dom";
import { bandName, computedAt, day, number, place, unitOf } from "./format";
import { absolute } from "./look";
import type { MapView } from "./map";
import { type Modes, onKeys, type Stop } from "./modes";
import { pointFromDegrees, pointToDegrees } from "./projections";
import type { RasterLayer } from "./raster";
import { Task } from "./task";

/** What the computing side answers to `values`. */
export interface ValuesAnswer {
  lon: number;
  lat: number;
  /** The middle of the pixel, in its own CRS. */
  x: number | null;
  y: number | null;
  crs: string | null;
  /** Metres of the pixel. */
  resolution: number | null;
  /** One entry, with date null, of what has no dates. */
  dates: readonly {
    date: string | null;
    values: readonly {
      band: string;
      value: number | null;
      label?: string | null;
      unit?: string | null;
    }[];
  }[];
}

/** What was found at a place. */
export interface Inspected {
  lon: number;
  lat: number;
  layers: readonly { key: string; name: string; values: ValuesAnswer }[];
  features: readonly { layer: string; properties: Record<string, unknown> }[];
}

const MODE = "inspect";

export class Inspect {
  readonly element: HTMLElement;
  /** Called when every layer has answered. */
  onfound: (found: Inspected) => void = () => undefined;
  /** Begins and ends the mode. */
  readonly button = h("button", { type: "button", class: "tz-button" }, "Inspect");
  private readonly where = h("p", { class: "tz-note" });
  private readonly found = h("div", { class: "tz-found", "aria-live": "polite" });
  private readonly source = new VectorSource<Feature<Point>>();
  private readonly layer = new VectorLayer({ source: this.source, style: MARK, zIndex: 9000 });
  private readonly unlisten: Stop;
  private marked: [number, number] | null = null;
  private tasks: Task[] = [];

  constructor(
    private readonly view: MapView,
    private readonly modes: Modes,
  ) {
    modes.bind(this.button, MODE, () => this.begin());
    this.element = h("div", { class: "tz-tool tz-inspect" }, this.where, this.found);
    this.layer.setMap(view.map);
    this.unlisten = view.onChange((what) => what === "projection" && this.remark());
    this.clear();
  }

  /** Ask every visible layer for what it has at a place (degrees). */
  at(lon: number, lat: number, features: Inspected["features"] = []): void {
    this.stopTasks();
    this.mark(lon, lat);
    this.where.textContent = place(lon, lat);
    const shown = [...this.view.rasters].reverse().filter((layer) => layer.visible);
    this.found.replaceChildren(...features.map(ofFeature));
    if (!shown.length && !features.length) {
      this.found.append(
        h("p", { class: "tz-note" }, "No layer is shown here: add one, or make one visible."),
      );
    }
    const answers = new Map<RasterLayer, ValuesAnswer | null>();
    const tell = () => {
      if (answers.size < shown.length) return;
      const layers = shown.flatMap((layer) => {
        const values = answers.get(layer);
        return values ? [{ key: layer.key, name: layer.name, values }] : [];
      });
      this.onfound({ lon, lat, layers, features });
    };
    tell();
    for (const layer of shown)
      this.ask(layer, lon, lat, (values) => {
        answers.set(layer, values);
        tell();
      });
  }

  /** Forget what was found. */
  clear(): void {
    this.stopTasks();
    this.marked = null;
    this.remark();
    this.found.replaceChildren();
    this.where.textContent =
      "Press on the map, or put the place under the cross in the middle and press Enter.";
  }

  destroy(): void {
    this.modes.stop(MODE);
    this.stopTasks();
    this.unlisten();
    this.layer.setMap(null);
    this.element.remove();
    this.button.remove();
  }

  private begin(): Stop {
    const { map } = this.view;
    const cross = h("div", { class: "tz-cross", "aria-hidden": "true" });
    const pressed = (event: MapBrowserEvent) => this.press(event);
    const unkey = onKeys(map, (key) => {
      const centre = map.getView().getCenter();
      if (key !== "Enter" || !centre) return false;
      this.atCoordinate(centre);
      return true;
    });
    this.view.element.append(cross);
    map.on("singleclick", pressed);
    return () => {
      cross.remove();
      unkey();
      map.un("singleclick", pressed);
    };
  }

  /** Ask about where somebody pressed, and about the features there. */
  press(event: MapBrowserEvent): void {
    const features: { layer: string; properties: Record<string, unknown> }[] = [];
    this.view.map.forEachFeatureAtPixel(
      event.pixel,
      (feature, layer) => {
        const name = this.view.layers.find((one) => one.ol === layer)?.name;
        if (name === undefined) return;
        const { geometry: _, ...properties } = feature.getProperties();
        features.push({ layer: name, properties });
      },
      { hitTolerance: 3 },
    );
    this.atCoordinate(event.coordinate, features);
  }

  private atCoordinate(coordinate: number[], features: Inspected["features"] = []): void {
    const [lon, lat] = pointToDegrees(coordinate as [number, number], this.view.projection);
    this.at(((((lon + 180) % 360) + 360) % 360) - 180, lat, features);
  }

  private ask(
    layer: RasterLayer,
    lon: number,
    lat: number,
    done: (found: ValuesAnswer | null) => void,
  ): void {
    const task = new Task();
    const section = h("section", { class: "tz-at" }, h("h4", {}, layer.name), task.element);
    this.found.append(section);
    this.tasks.push(task);
    void task.run(
      "Reading the pixel",
      (signal) =>
        layer.ask<ValuesAnswer>("values", { lon, lat, look: absolute(layer.look) }, signal),
      (values) => {
        section.append(...ofLayer(values));
        done(values);
      },
      () => done(null),
    );
  }

  private mark(lon: number, lat: number): void {
    this.marked = [lon, lat];
    this.remark();
  }

  private remark(): void {
    this.source.clear();
    if (!this.marked) return;
    this.source.addFeature(
      new Feature(new Point(pointFromDegrees(this.marked, this.view.projection))),
    );
  }

  private stopTasks(): void {
    for (const task of this.tasks) task.stop();
    this.tasks = [];
  }
}

const MARK = [
  new Style({
    image: new CircleStyle({ radius: 7, stroke: new Stroke({ color: "#fff", width: 5 }) }),
  }),
  new Style({
    image: new CircleStyle({
      radius: 7,
      stroke: new Stroke({ color: "#b3261e", width: 2.5 }),
      fill: new Fill({ color: "#0000" }),
    }),
  }),
];

function ofLayer(found: ValuesAnswer): HTMLElement[] {
  const rows = found.dates.flatMap(({ date, values }) =>
    values.map((value) => ({ date, ...value })),
  );
  if (!rows.length) return [h("p", { class: "tz-note" }, "This layer has nothing here.")];
  const dated = rows.some((row) => row.date);
  const head = [...(dated ? ["Date"] : []), "Band", "Value"];
  const table = h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        head.map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h(
      "tbody",
      {},
      rows.map((row) =>
        h(
          "tr",
          {},
          dated && h("td", {}, day(row.date)),
          h("td", {}, bandName(row.band)),
          h("td", {}, valueText(row)),
        ),
      ),
    ),
  );
  return [
    h("div", { class: "tz-table", tabIndex: 0, role: "region", "aria-label": "Values" }, table),
    h("p", { class: "tz-note" }, `One pixel, ${computedAt(found.resolution)}.`),
  ];
}

function valueText(row: {
  value: number | null;
  label?: string | null;
  unit?: string | null;
}): string {
  if (row.value === null) return "no data";
  return [number(row.value), unitOf(row.unit), row.label && `(${row.label})`]
    .filter(Boolean)
    .join(" ");
}

function attributeText(value: unknown): string {
  return typeof value === "number" && !Number.isInteger(value) ? number(value, 6) : String(value);
}

function ofFeature(feature: Inspected["features"][number]): HTMLElement {
  // What begins so is of the tile, and not of the feature.
  const known = Object.entries(feature.properties).filter(
    ([name, value]) =>
      !name.startsWith("_") && value !== null && typeof value !== "object" && value !== "",
  );
  return h(
    "section",
    { class: "tz-at" },
    h("h4", {}, feature.layer),
    known.length
      ? h(
          "dl",
          { class: "tz-facts" },
          known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, attributeText(value)))),
        )
      : h("p", { class: "tz-note" }, "A shape without attributes."),
  );
}
