/** Values along a line: drawn on the map, charted by distance. */

import type { LineString } from "geojson";
import Feature from "ol/Feature";
import GeoJSON from "ol/format/GeoJSON";
import OlLineString from "ol/geom/LineString";
import Point from "ol/geom/Point";
import DrawInteraction from "ol/interaction/Draw";
import VectorLayer from "ol/layer/Vector";
import VectorSource from "ol/source/Vector";

import { Chart } from "./chart";
import { button, field, LayerChoice, offerBands } from "./choice";
import { csv } from "./csv";
import { h } from "./dom";
import { download, fileName } from "./download";
import { bandName, computedAt, distance, unitOf } from "./format";
import { along, type LonLat, lengthOf } from "./geodesy";
import { absolute } from "./look";
import type { MapView } from "./map";
import { type Modes, onKeys, type Stop } from "./modes";
import { pointFromDegrees } from "./projections";
import { sketchStyle } from "./strokes";
import { Task } from "./task";

/** What the computing side answers to `transect`. */
export interface TransectAnswer {
  /** Metres of a pixel. */
  resolution: number | null;
  /** Metres from the beginning of the line, ascending. */
  distance: readonly number[];
  lon?: readonly number[];
  lat?: readonly number[];
  bands: readonly { name: string; unit?: string | null; values: readonly (number | null)[] }[];
}

const MODE = "transect";
const SAMPLES = 500;
const HINT = "Draw a line on the map, and see the values along it.";

export class Transect {
  readonly element: HTMLElement;
  /** Called when a line is asked for: its chart wants to be seen. */
  onshow: () => void = () => undefined;
  private readonly source = new VectorSource();
  private readonly layer = new VectorLayer({
    source: this.source,
    zIndex: 8600,
    style: sketchStyle,
  });
  private readonly chart = new Chart(200);
  private readonly task = new Task();
  private readonly layers: LayerChoice;
  private readonly band = h("select", { onchange: () => this.draw() });
  private readonly note = h("p", { class: "tz-note" });
  private readonly saving = button("Save as CSV", () => this.save());
  private readonly unlisten: Stop;
  private line: LineString | undefined;
  private answer: TransectAnswer | undefined;
  private pointed: number | null = null;

  constructor(
    private readonly view: MapView,
    private readonly modes: Modes,
  ) {
    this.layers = new LayerChoice(
      view,
      () => true,
      () => this.ask(),
    );
    this.layer.setMap(view.map);
    this.unlisten = view.onChange((what) => what === "projection" && this.redraw());
    const start = button("Draw a line");
    modes.bind(start, MODE, () => this.begin());
    this.element = h(
      "section",
      { class: "tz-tool tz-transect", "aria-label": "Values along a line" },
      h("h3", { class: "tz-title" }, "Values along a line"),
      h(
        "div",
        { class: "tz-row" },
        start,
        button("Clear", () => this.clear()),
      ),
      h("div", { class: "tz-fields" }, this.layers.element, field("Band", this.band)),
      this.task.element,
      this.chart.element,
      this.note,
      h("div", { class: "tz-row" }, this.saving),
    );
    this.chart.onpoint = (at) => {
      this.pointed = at;
      this.redraw();
    };
    this.clear();
  }

  /** Ask for the values along a line (degrees) and chart them. */
  show(line: LineString): void {
    this.line = line;
    this.layers.refresh();
    this.ask();
    this.onshow();
  }

  /** Offer the layers that there are now. */
  refresh(): void {
    this.layers.refresh();
  }

  clear(): void {
    this.task.stop();
    this.line = undefined;
    offerBands(this.band, []);
    this.forget();
    this.note.textContent = HINT;
    this.redraw();
  }

  destroy(): void {
    this.modes.stop(MODE);
    this.task.stop();
    this.unlisten();
    this.chart.destroy();
    this.layer.setMap(null);
    this.element.remove();
  }

  private begin(): Stop {
    const { map } = this.view;
    const draw = new DrawInteraction({ type: "LineString", style: sketchStyle });
    const unkey = onKeys(map, (key) => {
      if (key === "Backspace") draw.removeLastPoint();
      return key === "Backspace";
    });
    draw.on("drawend", (event) => {
      this.show(this.format.writeGeometryObject(event.feature.getGeometry()!) as LineString);
      this.modes.finish(draw);
    });
    map.addInteraction(draw);
    this.note.textContent = "Press for each point; press twice at the last one. Escape ends it.";
    return () => {
      unkey();
      map.removeInteraction(draw);
      if (!this.line) this.note.textContent = HINT;
    };
  }

  private ask(): void {
    const { layer } = this.layers;
    if (!this.line) return;
    this.forget();
    this.redraw();
    if (!layer) {
      this.task.fail(new Error("No layer with values is on this map: add one."));
      return;
    }
    const params = { geometry: this.line, look: absolute(layer.look), samples: SAMPLES };
    void this.task.run(
      "Reading along the line",
      (signal) => layer.ask<TransectAnswer>("transect", params, signal),
      (answer) => {
        this.answer = answer;
        offerBands(this.band, answer.bands);
        this.draw();
      },
    );
  }

  /** Takes away what another question was answered. */
  private forget(): void {
    this.answer = undefined;
    this.pointed = null;
    this.chart.element.hidden = this.saving.disabled = true;
    this.note.textContent = "";
  }

  private draw(): void {
    const { answer, line } = this;
    const band = answer?.bands.find((one) => one.name === this.band.value);
    if (!answer || !band || !line) return;
    this.chart.element.hidden = this.saving.disabled = false;
    const kilometres = (answer.distance.at(-1) ?? 0) >= 2000;
    this.chart.show({
      title: `${bandName(band.name)} along the line`,
      unit: unitOf(band.unit),
      x: kilometres ? answer.distance.map((metres) => metres / 1000) : answer.distance,
      label: "Distance",
      cell: (_, at) => distance(answer.distance[at]!),
      series: [
        {
          name: bandName(band.name),
          kind: "line",
          color: "--tz-dots",
          values: band.values,
          gaps: true,
        },
      ],
    });
    this.note.textContent =
      `${distance(lengthOf(line.coordinates as unknown as LonLat[]))} in ` +
      `${answer.distance.length} steps (across: ${kilometres ? "km" : "m"}), ` +
      `${computedAt(answer.resolution)}.`;
  }

  private redraw(): void {
    this.source.clear(true);
    if (!this.line) return;
    const { format, view } = this;
    const drawn = format.readGeometry(this.line);
    const shapes = drawn instanceof OlLineString ? [new Feature(drawn)] : [];
    const at = this.pointed === null ? undefined : this.placeOf(this.pointed);
    this.source.addFeatures(
      at ? [...shapes, new Feature(new Point(pointFromDegrees(at, view.projection)))] : shapes,
    );
  }

  private placeOf(at: number): [number, number] {
    const { lon, lat, distance: metres } = this.answer!;
    if (lon && lat) return [lon[at]!, lat[at]!];
    return [...along(this.line!.coordinates as unknown as LonLat[], metres[at]!)];
  }

  private save(): void {
    const { answer } = this;
    if (!answer) return;
    const header = [
      "distance_m",
      "lon",
      "lat",
      ...answer.bands.map((one) => bandName(one.name)),
      "resolution_m",
    ];
    const rows = answer.distance.map((metres, at) => [
      metres,
      ...this.placeOf(at),
      ...answer.bands.map((one) => one.values[at]),
      answer.resolution,
    ]);
    download(csv(header, rows), fileName(["transect", this.layers.layer?.name], "csv"), "text/csv");
  }

  private get format(): GeoJSON {
    return new GeoJSON({
      dataProjection: "EPSG:4326",
      featureProjection: this.view.projection,
    });
  }
}
