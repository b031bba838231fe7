/** The dialog that makes a film of the view over the dates of a layer. */

import { button, field, LayerChoice } from "./choice";
import { dialog } from "./dialog";
import { fill, h } from "./dom";
import { download, fileName } from "./download";
import { computedAt, day, fileSize } from "./format";
import { absolute } from "./look";
import type { MapView } from "./map";
import { Task } from "./task";

const FORMATS = { gif: "GIF", mp4: "MP4", webm: "WEBM" } as const;
type Format = keyof typeof FORMATS;
const WIDTHS = [320, 480, 720, 1080];

/** The labels from one to another, every `step`-th, the ends included where they fall on it. */
export function framesOf(
  dates: readonly string[],
  from: string,
  to: string,
  step: number,
): string[] {
  const [first, last] = [dates.indexOf(from), dates.indexOf(to)];
  const [low, high] = first <= last ? [first, last] : [last, first];
  return dates.slice(low, high + 1).filter((_, at) => at % step === 0);
}

export class Timelapse {
  /** The dialog; put it into the page, and `open` shows it. */
  readonly element: HTMLDialogElement;
  private readonly layers: LayerChoice;
  private readonly from = h("select", { onchange: () => this.count() });
  private readonly to = h("select", { onchange: () => this.count() });
  private readonly step = h(
    "select",
    { onchange: () => this.count() },
    [1, 2, 3, 5, 10].map((n) =>
      h("option", { value: n }, n === 1 ? "Every date" : `Every ${n} dates`),
    ),
  );
  private readonly width = h(
    "select",
    {},
    WIDTHS.map((n) => h("option", { value: n }, `${n} px wide`)),
  );
  private readonly format = h(
    "select",
    {},
    Object.entries(FORMATS).map(([value, name]) => h("option", { value }, name)),
  );
  private readonly pace = h(
    "select",
    {},
    [0.2, 0.5, 1, 2].map((n) => h("option", { value: n }, `${n} s a date`)),
  );
  private readonly task = new Task();
  private readonly note = h("p", { class: "tz-note" });
  private readonly bar = h("progress", { "aria-label": "Progress of the film", hidden: true });
  private readonly preview = h("div", { class: "tz-preview" });
  private readonly making = button("Make the film", () => this.make());
  private readonly saving = button("Download", () => this.save());
  private film: { blob: Blob; name: string; address: string } | undefined;

  constructor(private readonly view: MapView) {
    this.layers = new LayerChoice(
      view,
      (layer) => layer.about.dates.length > 1,
      () => this.dates(),
    );
    this.width.value = "720";
    this.pace.value = "0.5";
    this.making.classList.add("tz-main");
    this.element = dialog(
      "Time-lapse of the view",
      [
        h(
          "div",
          { class: "tz-fields" },
          this.layers.element,
          field("From", this.from),
          field("To", this.to),
          field("Dates", this.step),
          field("Size", this.width),
          field("Format", this.format),
          field("Pace", this.pace),
        ),
        this.note,
        h("div", { class: "tz-row" }, this.making, this.saving),
        this.task.element,
        this.bar,
        this.preview,
      ],
      () => this.halt(),
    );
  }

  /** Show the dialog for what the map shows now. */
  open(): void {
    this.layers.refresh();
    this.dates();
    this.forget();
    this.element.showModal();
  }

  destroy(): void {
    this.task.stop();
    this.forget();
    this.element.close();
    this.element.remove();
  }

  private get frames(): string[] {
    const dates = this.layers.layer?.about.dates ?? [];
    return framesOf(dates, this.from.value, this.to.value, Number(this.step.value));
  }

  private dates(): void {
    const dates = this.layers.layer?.about.dates ?? [];
    for (const select of [this.from, this.to]) {
      fill(
        select,
        dates.map((date) => h("option", { value: date }, day(date))),
      );
    }
    if (dates.length) this.to.value = dates[dates.length - 1]!;
    this.count();
  }

  private count(): void {
    const { layer } = this.layers;
    this.making.disabled = !layer;
    this.note.textContent = layer
      ? `${this.frames.length} dates of what the map shows now, each with its date written on it.`
      : "No layer of this map has more than one date: add a collection or a cube with dates.";
  }

  private make(): void {
    const { layer } = this.layers;
    if (!layer) return;
    const { bounds, crs } = this.view.bounds();
    const { time: _, ...look } = absolute(layer.look);
    const format = this.format.value as Format;
    const params = {
      bounds,
      crs,
      width: Number(this.width.value),
      dates: this.frames,
      look,
      format,
      seconds_per_frame: Number(this.pace.value),
    };
    this.forget();
    void this.task.run(
      `Computing ${params.dates.length} dates`,
      (signal) =>
        layer.picture("timelapse", params, signal, (done, of) => {
          this.bar.hidden = false;
          this.bar.max = of;
          this.bar.value = done;
        }),
      ({ blob, resolution }) => {
        this.bar.hidden = true;
        const address = URL.createObjectURL(blob);
        this.film = { blob, address, name: fileName(["time-lapse", layer.name], format) };
        this.saving.disabled = false;
        const label = `Time-lapse of ${layer.name}`;
        fill(
          this.preview,
          format === "gif"
            ? h("img", { src: address, alt: label })
            : h("video", {
                src: address,
                controls: true,
                loop: true,
                muted: true,
                autoplay: true,
                "aria-label": label,
              }),
        );
        this.task.say(
          `${params.dates.length} dates, ${fileSize(blob.size)}, ${computedAt(resolution, layer.about.resolution)}.`,
        );
      },
      () => (this.bar.hidden = true),
    );
  }

  private halt(): void {
    this.task.stop();
    this.bar.hidden = true;
  }

  private forget(): void {
    this.bar.hidden = true;
    if (this.film) URL.revokeObjectURL(this.film.address);
    this.film = undefined;
    this.saving.disabled = true;
    this.preview.replaceChildren();
  }

  private save(): void {
    if (this.film) download(this.film.blob, this.film.name);
  }
}
