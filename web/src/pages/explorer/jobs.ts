/** Jobs: what runs and what is done, with logs, files, and the result on the map. */
import { button } from "../../core/choice";
import { fill, h } from "../../core/dom";
import { isAbort } from "../../core/backend";
import { number } from "../../core/format";
import { Task } from "../../core/task";
import { moment } from "../content";
import { resultGraph } from "../graphs";
import { deleteJob, followJob, jobs, logs, results, stopJob, type Job } from "../../http/jobs";
import { Refused } from "../../http/server";
import { showBlocks } from "./jobblocks";
import type { Stage } from "./stage";

const STATUS: Record<Job["status"], string> = {
  created: "not started", queued: "waits for its turn", running: "runs", finished: "finished", error: "failed", canceled: "stopped",
};
const SHOWN = 30;

export class Jobs {
  readonly element: HTMLElement;
  readonly #task = new Task();
  readonly #list = h("ul", { class: "ex-jobs", "aria-label": "Jobs" });
  #following = new AbortController();

  /** @param run opens the dialog that starts one. */
  constructor(private readonly stage: Stage, run: () => void) {
    const start = button("Run a layer as a job", run);
    start.classList.add("tz-main");
    this.element = h("div", { class: "ex-panel" },
      h("p", { class: "tz-note" }, "A job computes what the map shows at full resolution, in the background. It goes on when this page is closed."),
      h("div", { class: "tz-row" }, start, button("Look again", () => void this.refresh())), this.#task.element, this.#list);
  }

  async refresh(): Promise<void> {
    this.#following.abort();
    this.#following = new AbortController();
    const { signal } = this.#following;
    await this.#task.run("Looking for jobs", () => jobs().catch((error: unknown) => {
      if (error instanceof Refused && error.status === 401) throw new Error("Jobs belong to somebody: log in to run and see yours.");
      throw error;
    }), (found) => {
      fill(this.#list, found.length ? found.slice(0, SHOWN).map((one) => this.#row(one, signal)) : h("li", { class: "tz-note" }, "There are none yet."));
    });
  }

  #row(job: Job, signal: AbortSignal): HTMLLIElement {
    const title = job.title || `Job ${job.id.slice(0, 8)}`;
    const bar = h("progress", { max: 100, "aria-label": `Progress of ${title}` });
    const state = h("p", { class: "tz-note", "aria-live": "polite" });
    const buttons = h("div", { class: "tz-row" });
    const wrong = new Task();
    const below = h("div", {});
    const act = (name: string, doing: () => void) => {
      const made = button(name, doing);
      made.setAttribute("aria-label", `${name}: ${title}`);
      return made;
    };
    const show = (now: Job) => {
      const busy = now.status === "queued" || now.status === "running";
      bar.hidden = !busy;
      if (now.status === "running" && now.progress !== undefined) bar.value = now.progress;
      else bar.removeAttribute("value");
      const part = now.status === "running" && now.progress !== undefined ? ` (${Math.round(now.progress)} %)` : "";
      state.textContent = `${STATUS[now.status]}${part}, ${moment(now.updated ?? now.created ?? "")}`;
      state.classList.toggle("tz-error", now.status === "error");
      fill(buttons,
        now.status === "finished" && act("Show on the map", () => void this.#show(now, title, wrong)),
        now.status === "finished" && act("Files", () => void this.#files(now, below, wrong)),
        now.status !== "created" && act("Blocks", () => void showBlocks(now.id, title, below, wrong, signal)),
        act("Log", () => void this.#log(now, below, wrong)),
        busy ? act("Stop", () => void wrong.run("Stopping", () => stopJob(now.id), () => void this.refresh()))
          : act("Delete", () => void wrong.run("Deleting", () => deleteJob(now.id), () => void this.refresh())));
    };
    show(job);
    if (job.status === "queued" || job.status === "running") {
      followJob(job.id, show, signal).catch((error: unknown) => { if (!isAbort(error)) wrong.fail(error); });
    }
    return h("li", {}, h("p", { class: "ex-when" }, title), state, bar, buttons, wrong.element, below);
  }

  async #show(job: Job, title: string, task: Task): Promise<void> {
    await task.run("Opening the result", async (signal) => {
      const { canonical } = await results(job.id, signal);
      if (!canonical) throw new Error("The server tells no address of these results.");
      const source = { title, process_graph: resultGraph(canonical) };
      return this.stage.open({ name: title, source, look: {} });
    }, () => undefined);
  }

  async #files(job: Job, place: HTMLElement, task: Task): Promise<void> {
    await task.run("Looking for its files", (signal) => results(job.id, signal), ({ files }) => {
      fill(place, h("ul", { class: "tz-list" }, files.map((file) => {
        const save = button("Download", () => void task.run(`Fetching ${file.name}`, () => file.save(), () => undefined));
        save.setAttribute("aria-label", `Download ${file.name}`);
        return h("li", {}, h("span", {}, file.name), file.bytes ? h("span", { class: "tz-note" }, `${number(file.bytes / 1e6)} MB`) : null, save);
      })));
    });
  }

  async #log(job: Job, place: HTMLElement, task: Task): Promise<void> {
    await task.run("Reading its log", (signal) => logs(job.id, signal), (entries) => {
      fill(place, h("ol", { class: "ex-log", tabindex: "0", "aria-label": "Log" }, entries.length
        ? entries.map((one) => h("li", { class: one.level === "error" ? "tz-error" : "" }, `${moment(one.time ?? "")} ${one.level}: ${one.message}`))
        : h("li", {}, "Nothing was logged.")));
    });
  }
}

