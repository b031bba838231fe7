import uPlot from "uplot";
import { fill, h } from "./dom";
import { number } from "./format";

/** One thing drawn over the x axis. */
export interface Series {
  name: string;
  /** As long as `x`; null leaves a gap. */
  values: readonly (number | null)[];
  kind: "line" | "dots" | "steps";
  /** A colour, or the name of a variable of the style sheet. */
  color: string;
  /** Full colour or faint, dot by dot; everything is full when left out. */
  strong?: readonly boolean[];
  /** Whether a line stops where a value is missing instead of going on to the next. */
  gaps?: boolean;
}

/** What a chart shows; x in seconds since 1970 when `time`, places in order when `places`. */
export interface ChartData {
  title: string;
  x: readonly number[];
  /** What the x column of the table is called, and how its cells read. */
  label: string;
  cell: (x: number, at: number) => string;
  time?: boolean;
  /** What the x axis says at 0, 1, 2 and so on. */
  places?: readonly string[];
  unit?: string;
  series: readonly Series[];
  /** Whether an x has a row in the table; all do when left out. */
  listed?: (at: number) => boolean;
  /** Further columns of the table. */
  columns?: readonly { name: string; cell: (at: number) => string }[];
}

/** A chart in a panel, with the same numbers in a table for who cannot or will not read a curve. */
export class Chart {
  readonly element: HTMLElement;
  /** Called with the index under the pointer or null. */
  onpoint: (at: number | null) => void = () => undefined;
  private readonly plotted = h("div", { class: "tz-plot" });
  private readonly reading = h("p", { class: "tz-reading", "aria-hidden": "true" });
  private readonly table = h("div", { class: "tz-table", tabIndex: 0 });
  private readonly watch = new ResizeObserver(() => this.fit());
  private readonly dark = matchMedia("(prefers-color-scheme: dark)");
  private readonly redraw = () => this.data && this.plotted.isConnected && this.draw(this.data);
  private readonly themed = new MutationObserver(this.redraw);
  private plot: uPlot | undefined;
  private data: ChartData | undefined;

  constructor(private readonly height = 200) {
    const rows = h(
      "details",
      { class: "tz-numbers" },
      h("summary", {}, "Numbers as a table"),
      this.table,
    );
    this.element = h("figure", { class: "tz-chart" }, this.plotted, this.reading, rows);
    this.watch.observe(this.plotted);
    this.dark.addEventListener("change", this.redraw);
  }

  /** Draws other data in place of what was there. */
  show(data: ChartData): void {
    this.data = data;
    this.plotted.setAttribute("role", "img");
    this.plotted.setAttribute(
      "aria-label",
      `Chart: ${data.title}. The numbers are in the table below.`,
    );
    this.watchTheme();
    this.draw(data);
    fill(this.table, tableOf(data));
    this.table.setAttribute("aria-label", `Numbers of ${data.title}`);
    this.read(null);
  }

  /** Takes the chart away and lets its listeners go. */
  destroy(): void {
    this.watch.disconnect();
    this.themed.disconnect();
    this.dark.removeEventListener("change", this.redraw);
    this.plot?.destroy();
    this.element.remove();
  }

  private draw(data: ChartData): void {
    this.plot?.destroy();
    this.plotted.replaceChildren();
    this.plot = new uPlot(this.options(data), aligned(data), this.plotted);
  }

  private watchTheme(): void {
    this.themed.disconnect();
    const themed = this.element.closest("[data-theme]") ?? document.documentElement;
    this.themed.observe(themed, { attributes: true, attributeFilter: ["data-theme"] });
  }

  private fit(): void {
    const width = this.plotted.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) {
      this.plot.setSize({ width, height: this.height });
    }
  }

  private read(at: number | null): void {
    const { data } = this;
    if (!data) return;
    this.reading.textContent =
      at === null
        ? "Point at the chart to read it."
        : [
            data.cell(data.x[at]!, at),
            ...data.series
              .filter((one) => one.values[at] != null)
              .map((one) => `${one.name} ${number(one.values[at])}`),
          ].join(" · ");
    this.onpoint(at);
  }

  private options(data: ChartData): uPlot.Options {
    const style = getComputedStyle(this.element);
    const color = (name: string) =>
      name.startsWith("--") ? style.getPropertyValue(name).trim() : name;
    const axis: uPlot.Axis = {
      stroke: color("--tz-muted") || "#666",
      grid: { stroke: color("--tz-line") || "#ddd", width: 1 },
      ticks: { stroke: color("--tz-line") || "#ddd", width: 1 },
      font: "12px system-ui, sans-serif",
    };
    return {
      width: this.plotted.clientWidth || 320,
      height: this.height,
      legend: { show: false },
      cursor: { drag: { x: true, y: false } },
      scales: { x: { time: data.time ?? false, range: (_, low, high) => padded(low, high) } },
      axes: [
        { ...axis, space: 64, ...placed(data.places) },
        { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => number(tick, 4)) },
      ],
      series: [{}, ...data.series.map((one) => drawn(one, color(one.color) || FALLBACK))],
      hooks: {
        setCursor: [(plot) => this.read(plot.cursor.idx ?? null)],
        draw: [
          (plot) =>
            data.series.forEach((one, at) => {
              if (one.kind === "dots") dots(plot, at + 1, one, color(one.color) || FALLBACK);
            }),
        ],
      },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    };
  }
}

const FALLBACK = "#2a6fb0";

function aligned(data: ChartData): uPlot.AlignedData {
  return [[...data.x], ...data.series.map((one) => [...one.values])];
}

/** Names at whole numbers of the x axis. */
function placed(names: readonly string[] | undefined): uPlot.Axis {
  if (!names) return {};
  const incrs = [1, 2, 5].flatMap((step) => [1, 10, 100, 1000].map((power) => step * power));
  return {
    space: 88,
    incrs: incrs.sort((a, b) => a - b),
    values: (_, ticks) => ticks.map((tick) => names[tick] ?? ""),
  };
}

/** Room for the first and the last dot; some width for one alone. */
function padded(low: number, high: number): [number, number] {
  const room = (high - low) * 0.02 || Math.abs(low) * 0.01 || 1;
  return [low - room, high + room];
}

function drawn(one: Series, color: string): uPlot.Series {
  if (one.kind === "steps") {
    return {
      stroke: color,
      fill: color,
      width: 0,
      points: { show: false },
      paths: uPlot.paths.bars!({ size: [1, Infinity], gap: 0 }),
    };
  }
  if (one.kind === "line")
    return { stroke: color, width: 2, spanGaps: !one.gaps, points: { show: false } };
  return { stroke: color, paths: () => null, points: { show: false } };
}

/** Full dots, and rings for what is not `strong`: uPlot's own points are all alike. */
function dots(plot: uPlot, column: number, one: Series, color: string): void {
  const { ctx } = plot;
  const radius = 3.5 * uPlot.pxRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  ctx.strokeStyle = ctx.fillStyle = color;
  ctx.lineWidth = 1.25 * uPlot.pxRatio;
  (plot.data[column] ?? []).forEach((value, at) => {
    if (value === null || value === undefined) return;
    const strong = one.strong?.[at] ?? true;
    ctx.globalAlpha = strong ? 1 : 0.6;
    ctx.beginPath();
    ctx.arc(
      plot.valToPos(plot.data[0][at]!, "x", true),
      plot.valToPos(value, "y", true),
      radius,
      0,
      7,
    );
    if (strong) ctx.fill();
    else ctx.stroke();
  });
  ctx.restore();
}

function tableOf(data: ChartData): HTMLTableElement {
  const more = data.columns ?? [];
  const head = [
    data.label,
    ...data.series.map((one) => one.name),
    ...more.map((column) => column.name),
  ];
  return h(
    "table",
    {},
    h("caption", {}, data.unit ? `${data.title} (${data.unit})` : data.title),
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
      data.x.map(
        (x, at) =>
          (data.listed?.(at) ?? true) &&
          h(
            "tr",
            {},
            h("th", { scope: "row" }, data.cell(x, at)),
            data.series.map((one) =>
              h("td", {}, one.values[at] == null ? "–" : number(one.values[at])),
            ),
            more.map((column) => h("td", {}, column.cell(at))),
          ),
      ),
    ),
  );
}
