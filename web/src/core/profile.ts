import type { Geometry } from "geojson";
import { Chart } from "./chart";
import { button, field, LayerChoice, offerBands } from "./choice";
import { h } from "./dom";
import { download, fileName } from "./download";
import { bandName, computedAt, day, number, percent, unitOf } from "./format";
import type { MapView } from "./map";
import { joined, type ProfileAnswer, profileCsv } from "./series";
import { Task } from "./task";

/** How a curve is put through the dots; what the panel offers. */
const SMOOTHING = {
  none: { title: "No curve", smooth: undefined },
  "whittaker-100": {
    title: "Whittaker, follows weeks",
    smooth: { method: "whittaker", smoothness: 100 },
  },
  "whittaker-1000": {
    title: "Whittaker, follows months",
    smooth: { method: "whittaker", smoothness: 1000 },
  },
  "whittaker-10000": {
    title: "Whittaker, follows seasons",
    smooth: { method: "whittaker", smoothness: 10000 },
  },
  "savitzky-golay-31": {
    title: "Savitzky-Golay, 31 days",
    smooth: { method: "savitzky-golay", window: 31, degree: 2 },
  },
  "savitzky-golay-61": {
    title: "Savitzky-Golay, 61 days",
    smooth: { method: "savitzky-golay", window: 61, degree: 2 },
  },
} as const;

const NO_DATES =
  "No layer of this map has dates: add a collection or a cube with a time dimension.";

type Curve = keyof typeof SMOOTHING;

/** The values of a place over all dates: dots, those free of clouds full, a curve, numbers, CSV. */
export class Profile {
  readonly element: HTMLElement;
  /** Called when somebody chooses a date by pressing on the chart. */
  ondate: (date: string) => void = () => undefined;
  private readonly chart = new Chart(220);
  private readonly task = new Task();
  private readonly title = h("h3", { class: "tz-title" });
  private readonly note = h("p", { class: "tz-note" });
  private readonly layers: LayerChoice;
  private readonly band = h("select", { onchange: () => this.draw() });
  private readonly statistic = h(
    "select",
    { onchange: () => this.ask() },
    h("option", { value: "mean" }, "Mean"),
    h("option", { value: "median" }, "Median"),
  );
  private readonly curve = h(
    "select",
    { onchange: () => this.ask() },
    Object.entries(SMOOTHING).map(([value, { title }]) => h("option", { value }, title)),
  );
  private readonly share = h("input", {
    type: "range",
    min: "0",
    max: "100",
    step: "5",
    value: "80",
    oninput: () => this.draw(),
    onchange: () => this.curve.value !== "none" && this.ask(),
  });
  private readonly shareSaid = h("span", {});
  private readonly save = button("Save as CSV", () => this.saveCsv());
  private answer: ProfileAnswer | undefined;
  private place: { geometry: Geometry; name: string } | undefined;
  private dates: readonly string[] = [];
  private pointed: string | undefined;

  constructor(view: MapView) {
    this.layers = new LayerChoice(
      view,
      (layer) => layer.about.dates.length > 0,
      () => this.chooseLayer(),
    );
    this.curve.value = "whittaker-1000";
    this.element = h(
      "section",
      { class: "tz-tool tz-profile", "aria-label": "Profile over all dates" },
      this.title,
      h(
        "div",
        { class: "tz-fields" },
        this.layers.element,
        field("Band", this.band),
        field("Statistic", this.statistic),
        h("div", { class: "tz-wide" }, field("Curve", this.curve)),
        h(
          "label",
          { class: "tz-field" },
          h("span", {}, "Clear from ", this.shareSaid, " of its pixels"),
          this.share,
        ),
      ),
      this.task.element,
      this.chart.element,
      this.note,
      h("div", { class: "tz-row" }, this.save),
    );
    this.chart.onpoint = (at) => (this.pointed = at === null ? undefined : this.dates[at]);
    this.chart.element.addEventListener("click", (event) => {
      if (event.target instanceof Element && event.target.closest(".tz-plot") && this.pointed) {
        this.ondate(this.pointed);
      }
    });
    this.refresh();
    this.clear();
  }

  /** Offer the layers with dates that there are now; what was chosen stays chosen. */
  refresh(): void {
    this.layers.refresh();
    this.fillBands();
    if (!this.place) this.invite();
  }

  /** Asks for the profile of a point or polygon (degrees) and draws it. */
  show(geometry: Geometry, name = ""): void {
    this.place = { geometry, name };
    this.title.textContent = name || "Profile";
    this.refresh();
    this.statistic.disabled = geometry.type === "Point";
    this.ask();
  }

  /** Empties the panel. */
  clear(): void {
    this.task.stop();
    this.place = undefined;
    this.forget();
    this.title.textContent = "Profile";
    this.invite();
    this.shareSaid.textContent = `${this.share.value} %`;
  }

  /** Takes the panel away and stops what it asked for. */
  destroy(): void {
    this.task.stop();
    this.chart.destroy();
    this.element.remove();
  }

  /** Takes away what another question was answered. */
  private forget(): void {
    this.answer = this.pointed = undefined;
    this.chart.element.hidden = this.save.disabled = true;
    this.note.textContent = "";
  }

  private invite(): void {
    this.note.textContent = this.layers.layer
      ? "Draw a polygon or a point to see its values over all dates."
      : NO_DATES;
  }

  private chooseLayer(): void {
    this.fillBands();
    this.ask();
  }

  private fillBands(): void {
    offerBands(this.band, this.layers.layer?.about.bands ?? []);
  }

  private ask(): void {
    const { place } = this;
    const { layer } = this.layers;
    if (!place) return;
    if (!layer) {
      this.forget();
      this.task.fail(new Error(NO_DATES));
      return;
    }
    const { smooth } = SMOOTHING[this.curve.value as Curve];
    const params = {
      geometry: place.geometry,
      statistic: this.statistic.value,
      min_valid: Number(this.share.value) / 100,
      ...(smooth && { smooth }),
    };
    this.forget();
    void this.task.run(
      "Reading all dates",
      (signal) => layer.ask<ProfileAnswer>("profile", params, signal),
      (answer) => {
        this.answer = answer;
        this.draw();
      },
    );
  }

  private draw(): void {
    this.shareSaid.textContent = `${this.share.value} %`;
    const { answer, place } = this;
    if (!answer || !place) return;
    const band = answer.bands.find((one) => one.name === this.band.value) ?? answer.bands[0];
    if (!band) return;
    const both = joined(answer, band.name, Number(this.share.value) / 100);
    const clear = both.rows.filter((row, at) => row && both.clear[at]).length;
    this.dates = both.dates;
    this.chart.element.hidden = this.save.disabled = false;
    this.chart.show({
      title: [bandName(band.name), place.name, this.layers.layer?.name].filter(Boolean).join(", "),
      unit: unitOf(band.unit),
      x: both.x,
      ...(both.time ? { time: true } : { places: both.dates.map(day) }),
      label: "Date",
      cell: (_, at) => day(both.dates[at]),
      series: [
        {
          name: bandName(band.name),
          kind: "dots" as const,
          color: "--tz-dots",
          values: both.seen,
          strong: both.clear,
        },
        ...(answer.smoothed?.dates.length
          ? [{ name: "curve", kind: "line" as const, color: "--tz-curve", values: both.curve }]
          : []),
      ],
      listed: (at) => both.rows[at] !== undefined,
      columns: [
        { name: "seen", cell: (at) => (both.rows[at] ? percent(both.rows[at].valid) : "") },
      ],
    });
    this.note.textContent =
      `${clear} of ${answer.rows.length} dates clear (full dots), ` +
      `${pixels(answer)}${computedAt(answer.resolution)}.` +
      (answer.rows.length > 1 && answer.rows.every((row) => row.valid === 1)
        ? " No date lacks a pixel: nothing masks clouds, unless there are none."
        : "") +
      (answer.smoothed && !both.time ? " No curve: these are no days to put one through." : "");
  }

  private saveCsv(): void {
    if (!this.answer) return;
    const text = profileCsv(this.answer, Number(this.share.value) / 100);
    download(
      text,
      fileName(["profile", this.place?.name, this.layers.layer?.name], "csv"),
      "text/csv",
    );
  }
}

function pixels(answer: ProfileAnswer): string {
  const most = answer.rows.reduce((size, row) => Math.max(size, row.count), 0);
  return most ? `up to ${number(most)} pixels, ` : "";
}
