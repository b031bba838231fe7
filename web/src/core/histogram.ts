import type { Statistics } from "./backend";
import { Chart } from "./chart";
import { field, LayerChoice, offerBands, sampled } from "./choice";
import { fill, h } from "./dom";
import { bandName, computedAt, number, percent, unitOf } from "./format";
import { absolute } from "./look";
import type { MapView } from "./map";
import { Task } from "./task";

const SIDE = 512;

/** The distribution and the statistics of what the view shows of a layer. */
export class Histogram {
  readonly element: HTMLElement;
  private readonly chart = new Chart(180);
  private readonly task = new Task();
  private readonly layers: LayerChoice;
  private readonly band = h("select", { onchange: () => this.draw() });
  private readonly facts = h("dl", { class: "tz-facts" });
  private readonly note = h("p", { class: "tz-note" });
  private answer: Statistics | undefined;
  /** What was asked last: the same question is not asked twice. */
  private asked = "";

  constructor(private readonly view: MapView) {
    this.layers = new LayerChoice(
      view,
      (layer) => layer.visible,
      () => this.refresh(),
    );
    this.element = h(
      "section",
      { class: "tz-tool tz-histogram", "aria-label": "Statistics of the view" },
      h("h3", { class: "tz-title" }, "Statistics of the view"),
      h("div", { class: "tz-fields" }, this.layers.element, field("Band", this.band)),
      this.task.element,
      this.chart.element,
      this.facts,
      this.note,
    );
    this.chart.element.hidden = true;
  }

  /** Ask for what the view shows now: on every change, while the panel is seen. */
  refresh(): void {
    this.layers.refresh();
    const { layer } = this.layers;
    if (!layer) {
      this.nothing("No layer with values is shown: add one, or make one visible.");
      return;
    }
    const params = { ...sampled(this.view.bounds(), SIDE), look: absolute(layer.look) };
    const asked = JSON.stringify([layer.key, layer.id, params]);
    if (asked === this.asked) return;
    this.asked = asked;
    this.forget();
    void this.task.run(
      "Counting the pixels of the view",
      (signal) => layer.ask<Statistics>("statistics", params, signal),
      (answer) => this.fresh(answer),
      () => (this.asked = ""),
    );
  }

  /** Takes the panel away and stops what it asked for. */
  destroy(): void {
    this.task.stop();
    this.chart.destroy();
    this.element.remove();
  }

  private fresh(answer: Statistics): void {
    this.answer = answer;
    offerBands(this.band, answer.bands);
    this.draw();
  }

  private nothing(why: string): void {
    this.task.stop();
    this.asked = "";
    this.forget(why);
  }

  /** Takes away what another question was answered. */
  private forget(why = ""): void {
    this.answer = undefined;
    this.empty(why);
  }

  private empty(why: string): void {
    this.chart.element.hidden = true;
    this.facts.replaceChildren();
    this.note.textContent = why;
  }

  private draw(): void {
    const band = this.answer?.bands.find((one) => one.name === this.band.value);
    if (!band || !this.answer) return;
    if (!band.valid) {
      this.empty("There are no data in this view: move the map, or choose another date.");
      return;
    }
    const { edges, counts } = band.histogram;
    const middle = counts.map((_, at) => (edges[at]! + edges[at + 1]!) / 2);
    this.chart.element.hidden = false;
    this.chart.show({
      title: `Distribution of ${bandName(band.name)}`,
      unit: unitOf(band.unit),
      x: middle,
      label: "From, to",
      cell: (_, at) => `${number(edges[at])} to ${number(edges[at + 1])}`,
      series: [{ name: "pixels", kind: "steps", color: "--tz-bars", values: counts }],
    });
    const percentile = (name: string) => number(band.percentiles[name]);
    fill(
      this.facts,
      facts([
        ["Mean", number(band.mean)],
        ["Standard deviation", number(band.sd)],
        ["Least", number(band.min)],
        ["Greatest", number(band.max)],
        ["Median", percentile("50")],
        ["2 % to 98 %", `${percentile("2")} to ${percentile("98")}`],
        ["Pixels", number(band.valid, 7)],
        ["With data", percent(band.valid / band.count)],
      ]),
    );
    this.note.textContent = `Of what the view shows, ${computedAt(this.answer.resolution)}.`;
  }
}

function facts(pairs: readonly (readonly [string, string])[]): HTMLElement[] {
  return pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}
