/** The blocks of a job: a small map of what is done, and who computes it. */
import { isAbort } from "../../core/backend";
import { fill, h } from "../../core/dom";
import { number } from "../../core/format";
import type { Task } from "../../core/task";
import { blocks, waited, type BlockMap, type JobBlocks, type Worker } from "../../http/jobs";

/** Between two looks, milliseconds. */
const PAUSE = 2000;
const GOES_ON = new Set(["running", "submitted"]);
/** What a letter of a map means; the same words name the colours of the legend. */
const MEANING: Record<string, string> = {
  d: "done", r: "in work", f: "failed", p: "partly done", m: "not begun",
};
/** Longest edge of a map, pixels. */
const EDGE = 240;

/** Shows the blocks of a job in a place until it has ended, or nobody looks any more. */
export async function showBlocks(id: string, title: string, place: HTMLElement, task: Task, signal: AbortSignal): Promise<void> {
  const shown = h("section", { class: "ex-blocks", "aria-label": `Blocks of ${title}` });
  const begin = () => task.run("Looking at its blocks", () => blocks(id, signal), (told) => {
    fill(place, shown);
    draw(shown, told, title);
    if (GOES_ON.has(told.state)) void follow();
  });
  const follow = async () => {
    try {
      for (let told; shown.isConnected; ) {
        await waited(PAUSE, signal);
        if (!shown.isConnected) return;
        told = await blocks(id, signal);
        draw(shown, told, title);
        if (!GOES_ON.has(told.state)) return;
      }
    } catch (error) {
      if (!isAbort(error)) task.fail(error, () => void begin());
    }
  };
  await begin();
}

function draw(place: HTMLElement, told: JobBlocks, title: string): void {
  const rate = told.per_second ? `, ${number(told.per_second, 3)} per second` : "";
  const left = told.left_seconds === null ? "" : `, ${time(told.left_seconds)} left`;
  const failed = told.failed ? `, ${number(told.failed)} failed` : "";
  fill(place,
    h("p", { class: "tz-note", "aria-live": "polite" }, told.total
      ? `${told.unit}: ${number(told.done)} of ${number(told.total)} done${failed}${rate}${left}`
      : "No block has been begun."),
    told.maps.map((one) => picture(one, title)),
    told.maps.length ? legend() : null,
    told.workers.length ? table(told.workers) : null);
}

function picture(map: BlockMap, title: string): HTMLElement {
  const cell = Math.max(2, Math.min(16, Math.floor(EDGE / Math.max(map.rows, map.columns))));
  const { done, running, failed, missing } = map.counts;
  const [rows, columns] = map.blocks;
  const about = `Map of ${rows} by ${columns} blocks of ${map.place || title}: ${done} done, ${running} in work, ${failed} failed, ${missing} missing`;
  const grid = h("div", {
    class: "ex-blocks-map", role: "img", "aria-label": about,
    style: `grid-template-columns: repeat(${map.columns}, ${cell}px); grid-auto-rows: ${cell}px`,
  }, [...map.cells].map((letter) => h("i", { class: `ex-block-${letter}` })));
  return h("figure", {}, grid, map.place ? h("figcaption", { class: "tz-note" }, map.place) : null);
}

function legend(): HTMLElement {
  return h("ul", { class: "ex-blocks-legend", "aria-label": "Colours" }, Object.entries(MEANING).map(([letter, words]) =>
    h("li", {}, h("i", { class: `ex-block-${letter}`, "aria-hidden": "true" }), words)));
}

function table(workers: Worker[]): HTMLElement {
  const head = ["Worker", "Made", "Failed", "At hand", "Per second", "Memory", "Heard"];
  const megabytes = (bytes: number) => `${number(bytes / 1e6, 3)} MB`;
  return h("div", { class: "tz-table", tabindex: "0", role: "region", "aria-label": "Workers" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, workers.map((one) => h("tr", { class: one.silent ? "tz-error" : "" },
      h("th", { scope: "row" }, one.name),
      [number(one.made), number(one.failed), number(one.at_hand), number(one.per_second, 3),
        megabytes(one.memory_bytes), `${time(one.heard_seconds)} ago${one.silent ? " (silent)" : ""}`,
      ].map((text) => h("td", {}, text)))))));
}

/** A time as people say it. */
function time(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${number(seconds / 3600, 3)} h`;
}
