/** The view of a layer as a file at native resolution: a job, followed until it is done. */

import { button, field, LayerChoice } from "./choice";
import { dialog } from "./dialog";
import { fill, h } from "./dom";
import { day, fileSize, number } from "./format";
import type { ExportArea, ExportDate } from "./jobgraph";
import type { JsonObject } from "./backend";
import type { MapView } from "./map";
import { fromDegrees, registerNative, toDegrees } from "./projections";
import type { RasterLayer } from "./raster";
import { Task } from "./task";

/** How far a job is. */
export interface ExportJob {
  status: "created" | "queued" | "running" | "finished" | "error" | "canceled";
  /** Per cent, or null where it is not known. */
  progress: number | null;
  /** What went wrong, or what is going on, in words. */
  message?: string;
  /** What came out of it. */
  files?: readonly ExportFile[];
}

export interface ExportFile {
  name: string;
  bytes?: number | null;
  /** Fetches the file and hands it to the person. */
  save: () => Promise<void>;
}

/** What is exported: a layer, cut to an area and a date. */
export interface ExportOrder {
  /** Id of the opened layer. */
  layer: string;
  /** What it was opened with. */
  source: JsonObject;
  area: ExportArea;
  /** Null keeps all. */
  date: ExportDate | null;
  format: string;
  title: string;
}

/** What runs jobs: the server's job queue, or the kernel. */
export interface Exporter {
  /** Start a job; returns its id. */
  start(order: ExportOrder, signal: AbortSignal): Promise<string>;
  /** Tell of a job until it has ended; a stopped signal ends the telling, not the job. */
  follow(id: string, tell: (job: ExportJob) => void, signal: AbortSignal): Promise<ExportJob>;
  /** End a job. */
  stop(id: string): Promise<void>;
}

const FORMATS = { COG: "COG (GeoTIFF)", netCDF: "netCDF", ZARR: "Zarr" } as const;
const ALL = "all";

export class Export {
  /** The dialog; put it into the page, and `open` shows it. */
  readonly element: HTMLDialogElement;
  private readonly layers: LayerChoice;
  private readonly time = h("select", { onchange: () => this.tell() });
  private readonly format = h(
    "select",
    {},
    Object.entries(FORMATS).map(([value, name]) => h("option", { value }, name)),
  );
  private readonly title = h("input", { type: "text", maxLength: 120 });
  private readonly task = new Task();
  private readonly note = h("p", { class: "tz-note" });
  private readonly bar = h("progress", { max: 100, "aria-label": "Progress of the export" });
  private readonly state = h("p", { class: "tz-note", "aria-live": "polite" });
  private readonly files = h("ul", { class: "tz-list" });
  private readonly starting = button("Start", () => this.start());
  private readonly ending = button("Stop the job", () => this.end());
  private job: string | undefined;

  constructor(
    private readonly view: MapView,
    private readonly exporter: Exporter,
  ) {
    this.layers = new LayerChoice(
      view,
      () => true,
      () => this.dates(),
    );
    this.starting.classList.add("tz-main");
    this.element = dialog(
      "Export the view",
      [
        h(
          "div",
          { class: "tz-fields" },
          this.layers.element,
          field("Date", this.time),
          field("Format", this.format),
          field("Title", this.title),
        ),
        this.note,
        h("div", { class: "tz-row" }, this.starting, this.ending),
        this.task.element,
        this.bar,
        this.state,
        this.files,
      ],
      () => undefined,
    );
    this.quiet();
  }

  /** Show the dialog for what the map shows now; a job that still runs goes on being followed. */
  open(): void {
    this.layers.refresh();
    if (!this.job) {
      this.dates();
      this.quiet();
    }
    this.element.showModal();
  }

  destroy(): void {
    this.task.stop();
    this.element.close();
    this.element.remove();
  }

  private dates(): void {
    const { layer } = this.layers;
    const dates = layer?.about.dates ?? [];
    fill(
      this.time,
      [...dates].reverse().map((date) => h("option", { value: date }, day(date))),
      dates.length !== 1 &&
        h("option", { value: ALL }, dates.length ? `All ${dates.length} dates` : "Without dates"),
    );
    if (layer?.time) this.time.value = layer.time;
    this.time.disabled = dates.length < 2;
    if (layer) this.title.value = layer.name;
    this.tell();
  }

  private tell(): void {
    const { layer } = this.layers;
    this.starting.disabled = !layer;
    this.note.textContent = layer
      ? sizeOf(layer, this.area(layer))
      : "No layer with values is on this map: add one.";
  }

  private area(layer: RasterLayer): ExportArea {
    const degrees = this.view.boundsInDegrees();
    const { native } = layer.about;
    if (!native || !registerNative(native)) return { bounds: degrees, crs: "EPSG:4326" };
    const bounds =
      this.view.projection === native.crs
        ? this.view.bounds().bounds
        : fromDegrees(degrees, native.crs);
    return { bounds, crs: native.crs, ...(native.wkt && { wkt: native.wkt }) };
  }

  private start(): void {
    const { layer } = this.layers;
    if (!layer) return;
    const { process, temporal = null } = layer.about;
    const date =
      this.time.value === ALL ? null : { label: this.time.value, dimension: temporal };
    const order: ExportOrder = {
      layer: layer.about.id,
      source: process ? { process } : layer.source,
      area: this.area(layer),
      date,
      format: this.format.value,
      title: this.title.value.trim() || layer.name,
    };
    const begin = async (signal: AbortSignal) => this.exporter.start(order, signal);
    void this.task.run(
      "Starting the job",
      begin,
      (id) => this.follow(id),
    );
  }

  private follow(id: string): void {
    this.job = id;
    this.starting.disabled = true;
    this.ending.hidden = this.bar.hidden = false;
    this.files.replaceChildren();
    void this.task.run(
      "The job runs; it goes on when this window is closed",
      (signal) => this.exporter.follow(id, (job) => this.show(job), signal),
      (job) => {
        this.show(job);
        this.job = undefined;
        this.starting.disabled = false;
        this.ending.hidden = this.bar.hidden = true;
      },
      () => this.quiet(),
    );
  }

  private show(job: ExportJob): void {
    if (job.progress === null) this.bar.removeAttribute("value");
    else this.bar.value = job.progress;
    const failed = job.status === "error";
    this.state.classList.toggle("tz-error", failed);
    this.state.textContent = [STATUS[job.status], job.message].filter(Boolean).join(": ");
    fill(
      this.files,
      (job.files ?? []).map((file) => this.file(file)),
    );
  }

  private file(file: ExportFile): HTMLElement {
    const save = button("Download", () => {
      void this.task.run(
        `Fetching ${file.name}`,
        () => file.save(),
        () => undefined,
      );
    });
    save.setAttribute("aria-label", `Download ${file.name}`);
    return h(
      "li",
      {},
      h("span", {}, file.name),
      file.bytes ? h("span", { class: "tz-size" }, fileSize(file.bytes)) : null,
      save,
    );
  }

  private end(): void {
    const { job } = this;
    if (!job) return;
    void this.exporter.stop(job).catch((error: unknown) => this.task.fail(error));
  }

  private quiet(): void {
    this.job = undefined;
    this.starting.disabled = !this.layers.layer;
    this.ending.hidden = this.bar.hidden = true;
    this.state.textContent = "";
    this.files.replaceChildren();
  }
}

const STATUS: Record<ExportJob["status"], string> = {
  created: "Made, not started",
  queued: "Waits for its turn",
  running: "Runs",
  finished: "Done",
  error: "Failed",
  canceled: "Stopped",
};

/** What will come out, in words. */
function sizeOf(layer: RasterLayer, { bounds, crs }: ExportArea): string {
  const { native, bands, resolution } = layer.about;
  if (!native || native.crs !== crs) {
    return resolution
      ? `Computed at ${number(resolution)} m, the resolution of its source.`
      : "Computed at the resolution of its source.";
  }
  const pixel = Math.min(...native.resolutions);
  const [across, down] = [(bounds[2] - bounds[0]) / pixel, (bounds[3] - bounds[1]) / pixel].map(
    Math.ceil,
  );
  const size = (across! * down! * Math.max(1, bands.length) * 4) / 1e6;
  const [west, south, east, north] = toDegrees(bounds, crs).map((side) => side.toFixed(3));
  return (
    `${across} x ${down} pixels of ${number(resolution ?? pixel)} m in ${crs}, ` +
    `${count(bands.length)}, about ${number(Math.max(0.1, size), 2)} MB a date uncompressed; ` +
    `${west} to ${east} east, ${south} to ${north} north.`
  );
}

function count(bands: number): string {
  return bands > 1 ? `${bands} bands` : "one band";
}
