/** A picture of the view to keep: the map, its scale, legends, dates and sources. */

import type { Legend } from "./backend";
import { button, field } from "./choice";
import { h } from "./dom";
import { download, fileName } from "./download";
import { computedAt, day, number, unitOf } from "./format";
import type { MapLayer } from "./layer";
import type { MapView } from "./map";
import { RasterLayer } from "./raster";
import { type Bar, barOf, metresPerPixel } from "./scale";
import { Task } from "./task";

/** Other hosts' pictures are on the map, and they forbid that theirs are kept. */
export class PictureForbidden extends Error {
  constructor() {
    super(
      "A basemap or layer of another host is shown that forbids its pictures to be saved. " +
        "Hide it, or choose the offline basemap, and save again.",
    );
  }
}

const EDGE = 16;
const LINE = 20;
const RAMP = { width: 180, height: 12 };
const COLUMN = 230;
const SWATCH = 14;
const RGB = ["#c62828", "#2e7d32", "#1565c0"];
const INK = "#1b1b1b";
const PALE = "#555";
const FONT = "system-ui, 'DejaVu Sans', sans-serif";

interface Entry {
  title: string;
  facts: string;
  legend: Legend | null;
  unit: string;
}

/**
 * Return the view with what explains it below as a PNG.
 *
 * @param credits whom to name beside the sources of the layers, such as the basemap's.
 * @throws PictureForbidden another host's pictures are shown that may not be kept.
 */
export async function picture(
  view: MapView,
  title: string,
  credits: readonly string[] = [],
  signal?: AbortSignal,
): Promise<Blob> {
  await settled(view, signal);
  const ratio = devicePixelRatio;
  const { width, height } = view.bounds();
  const entries = view.layers
    .filter((layer) => layer.visible && layer.opacity > 0)
    .reverse()
    .map(entryOf);
  const most = Math.max(1, Math.floor((width - EDGE) / COLUMN));
  const rows = rowsOf(entries, most);
  const column = (width - EDGE) / Math.min(most, Math.max(1, entries.length));
  const own = view.layers.filter((one) => one.visible).flatMap((one) => one.sources);
  const sources = [...new Set([...own, ...credits])];
  const measure = document.createElement("canvas").getContext("2d")!;
  measure.font = `12px ${FONT}`;
  const said = wrapped(measure, sourceLine(sources, view.projection), width - 2 * EDGE);
  const below =
    (title ? 30 : 0) +
    44 +
    rows.reduce((sum, row) => sum + row.height, 0) +
    said.length * LINE +
    EDGE;
  const canvas = h("canvas", {
    width: Math.round(width * ratio),
    height: Math.round((height + below) * ratio),
  });
  const draw = canvas.getContext("2d")!;
  draw.fillStyle = "#fff";
  draw.fillRect(0, 0, canvas.width, canvas.height);
  drawMap(view, draw, width, height);
  draw.setTransform(ratio, 0, 0, ratio, 0, height * ratio);
  let y = EDGE;
  if (title) {
    text(draw, title, EDGE, y + 8, `600 18px ${FONT}`, INK, width - 2 * EDGE);
    y += 30;
  }
  drawBar(draw, barOf(metresPerPixel(view), Math.min(240, width / 3)), EDGE, y);
  y += 44;
  for (const row of rows) {
    row.entries.forEach((entry, at) =>
      drawEntry(draw, entry, EDGE + at * column, y, column - EDGE),
    );
    y += row.height;
  }
  said.forEach((line, at) => text(draw, line, EDGE, y + at * LINE + 6, `12px ${FONT}`, PALE));
  return asPng(canvas);
}

/** Put what the map shows now into a canvas: OpenLayers leaves one a layer, or a group of them. */
function drawMap(
  view: MapView,
  draw: CanvasRenderingContext2D,
  width: number,
  height: number,
): void {
  const viewport = view.map.getViewport() ?? view.element;
  const ratio = devicePixelRatio;
  draw.save();
  draw.beginPath();
  draw.rect(0, 0, width * ratio, height * ratio);
  draw.clip();
  draw.fillStyle = behind([viewport, view.map.getTargetElement(), view.element]);
  draw.fillRect(0, 0, width * ratio, height * ratio);
  for (const layer of viewport.querySelectorAll<HTMLCanvasElement>(LAYERS)) {
    if (!layer.width) continue;
    draw.globalAlpha = Number(layer.parentElement?.style.opacity || layer.style.opacity || 1);
    draw.setTransform(new DOMMatrix([ratio, 0, 0, ratio, 0, 0]).multiply(placed(layer)));
    draw.drawImage(layer, 0, 0);
  }
  draw.restore();
}

const LAYERS = ".ol-layer canvas, canvas.ol-layer";

function placed(layer: HTMLCanvasElement): DOMMatrix {
  if (layer.style.transform) return new DOMMatrix(layer.style.transform);
  const across = Number.parseFloat(layer.style.width) / layer.width || 1;
  const down = Number.parseFloat(layer.style.height) / layer.height || 1;
  return new DOMMatrix([across, 0, 0, down, 0, 0]);
}

/** The colour behind the map: of the nearest element that has one. */
function behind(elements: readonly (HTMLElement | null | undefined)[]): string {
  const colors = elements.map((one) => (one ? getComputedStyle(one).backgroundColor : ""));
  return (
    colors.find((color) => color && !/^(transparent|rgba\(0, 0, 0, 0\))$/.test(color)) ?? "#fff"
  );
}

function settled(view: MapView, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new DOMException("Stopped", "AbortError"));
    signal?.addEventListener("abort", stop, { once: true });
    view.map.once("rendercomplete", () => {
      signal?.removeEventListener("abort", stop);
      resolve();
    });
    view.map.render();
  });
}

function entryOf(layer: MapLayer): Entry {
  const raster = layer instanceof RasterLayer ? layer : null;
  const facts = raster
    ? [raster.time && day(raster.time), computedAt(raster.resolution, raster.about.resolution)].filter(Boolean).join(", ")
    : "";
  return { title: layer.name, facts, legend: layer.legend(), unit: unitOf(raster?.unit) };
}

function heightOf({ legend, facts }: Entry): number {
  const body = !legend ? 0 : legend.kind === "range" ? 40 : LINE * swatches(legend).length;
  return LINE + (facts ? LINE : 0) + body + 10;
}

function rowsOf(
  entries: readonly Entry[],
  columns: number,
): { entries: Entry[]; height: number }[] {
  const rows: { entries: Entry[]; height: number }[] = [];
  for (let at = 0; at < entries.length; at += columns) {
    const row = entries.slice(at, at + columns);
    rows.push({ entries: row, height: Math.max(...row.map(heightOf)) });
  }
  return rows;
}

function drawEntry(
  draw: CanvasRenderingContext2D,
  entry: Entry,
  x: number,
  top: number,
  room: number,
): void {
  let y = top + 6;
  text(draw, entry.title, x, y, `600 13px ${FONT}`, INK, room);
  y += LINE;
  if (entry.facts) {
    text(draw, entry.facts, x, y, `12px ${FONT}`, PALE, room);
    y += LINE;
  }
  const { legend } = entry;
  if (legend?.kind === "range") drawRamp(draw, legend, entry.unit, x, y);
  else if (legend) {
    for (const [label, color] of swatches(legend)) {
      draw.fillStyle = color;
      draw.fillRect(x, y - 7, SWATCH, SWATCH);
      draw.strokeStyle = "#888";
      draw.strokeRect(x + 0.5, y - 6.5, SWATCH - 1, SWATCH - 1);
      text(draw, label, x + SWATCH + 8, y, `12px ${FONT}`, INK, room - SWATCH - 8);
      y += LINE;
    }
  }
}

/** Labels and colours of a legend that is no ramp. */
function swatches(legend: Exclude<Legend, { kind: "range" }>): [string, string][] {
  if (legend.kind === "classes") return legend.classes.map((one) => [one.label, one.color]);
  return legend.bands.map((band, at) => {
    const [low, high] = legend.ranges[at] ?? [0, 1];
    return [`${band}: ${number(low)} to ${number(high)}`, RGB[at] ?? INK];
  });
}

function drawRamp(
  draw: CanvasRenderingContext2D,
  legend: Extract<Legend, { kind: "range" }>,
  unit: string,
  x: number,
  y: number,
): void {
  const shade = draw.createLinearGradient(x, 0, x + RAMP.width, 0);
  legend.colors.forEach((color, at) => {
    shade.addColorStop(at / Math.max(1, legend.colors.length - 1), color);
  });
  draw.fillStyle = shade;
  draw.fillRect(x, y - 6, RAMP.width, RAMP.height);
  text(draw, number(legend.min), x, y + 16, `12px ${FONT}`, INK);
  draw.textAlign = "right";
  text(draw, `${number(legend.max)} ${unit}`.trim(), x + RAMP.width, y + 16, `12px ${FONT}`, INK);
  draw.textAlign = "left";
}

function drawBar(draw: CanvasRenderingContext2D, bar: Bar, x: number, y: number): void {
  draw.fillStyle = INK;
  draw.fillRect(x, y + 4, bar.pixels, 2);
  for (const at of [x, x + bar.pixels / 2 - 1, x + bar.pixels - 2]) draw.fillRect(at, y, 2, 6);
  text(draw, bar.label, x, y + 18, `12px ${FONT}`, INK);
}

function text(
  draw: CanvasRenderingContext2D,
  words: string,
  x: number,
  y: number,
  font: string,
  color: string,
  room?: number,
): void {
  draw.font = font;
  draw.fillStyle = color;
  draw.textBaseline = "middle";
  let shown = words;
  while (room && shown.length > 1 && draw.measureText(shown).width > room) {
    shown = `${shown.slice(0, -2)}…`;
  }
  draw.fillText(shown, x, y);
}

function sourceLine(sources: readonly string[], projection: string): string {
  const named = sources.length ? `Sources: ${sources.join("; ")}. ` : "";
  const today = new Date().toISOString().slice(0, 10);
  return `${named}Projection ${projection}. Made with Terrazzo on ${today}.`;
}

function wrapped(draw: CanvasRenderingContext2D, words: string, room: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of words.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && draw.measureText(longer).width > room) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

function asPng(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    try {
      canvas.toBlob(
        (blob) =>
          blob
            ? resolve(blob)
            : reject(
                new Error("The picture is too large for this browser: make the window smaller."),
              ),
        "image/png",
      );
    } catch {
      reject(new PictureForbidden());
    }
  });
}

/** The panel that saves the view as a picture. */
export class PictureSaver {
  readonly element: HTMLElement;
  private readonly title = h("input", { type: "text", maxLength: 120, placeholder: "none" });
  private readonly task = new Task();

  /** @param credits whom to name beside the sources of the layers. */
  constructor(
    private readonly view: MapView,
    private readonly credits: () => readonly string[] = () => [],
  ) {
    this.element = h(
      "section",
      { class: "tz-tool tz-picture", "aria-label": "Picture of the view" },
      h("h3", { class: "tz-title" }, "Picture of the view"),
      h("div", { class: "tz-fields" }, field("Title", this.title)),
      h(
        "p",
        { class: "tz-note" },
        "A PNG of what the map shows, with scale bar, legends, dates and sources.",
      ),
      h(
        "div",
        { class: "tz-row" },
        button("Save as PNG", () => this.save()),
      ),
      this.task.element,
    );
  }

  destroy(): void {
    this.task.stop();
    this.element.remove();
  }

  private save(): void {
    const title = this.title.value.trim();
    void this.task.run(
      "Drawing the picture",
      (signal) => picture(this.view, title, this.credits(), signal),
      (blob) => {
        download(blob, fileName([title || "map"], "png"));
        this.task.say("The picture is saved.");
      },
    );
  }
}
