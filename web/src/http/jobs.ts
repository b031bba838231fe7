/** Jobs of the server: made, started, followed, and what came of them. */
import type { JsonObject } from "../core/backend";
import { download } from "../core/download";
import type { Exporter, ExportFile, ExportJob, ExportOrder } from "../core/export";
import { exportGraph } from "../core/jobgraph";
import { all, ask, at, fetched, onHere, send, withQuery } from "./server";

export type Status = ExportJob["status"];

export interface Job {
  id: string;
  title?: string;
  status: Status;
  /** Per cent. */
  progress?: number;
  created?: string;
  updated?: string;
}

export interface LogEntry {
  id: string;
  level: string;
  message: string;
  time?: string;
}

/** What a job came to. */
export interface Results {
  /** The signed address of the document, which graphs can load. */
  canonical: string | null;
  files: ExportFile[];
}

const ENDED = new Set<Status>(["finished", "error", "canceled", "created"]);
/** Between two looks at a job, milliseconds: soon at first, then less often. */
const FIRST = 400, LAST = 4000, SLOWER = 1.3;

/** The jobs of who asks, the newest first. */
export async function jobs(): Promise<Job[]> {
  const found = await all<Job>(at("jobs"), "jobs");
  return found.sort((a, b) => (a.created ?? "") < (b.created ?? "") ? 1 : -1);
}

export async function job(id: string, signal?: AbortSignal): Promise<Job> {
  return ask<Job>(at("jobs", id), signal);
}

/** The last entries of a job's log. */
export async function logs(id: string, signal?: AbortSignal): Promise<LogEntry[]> {
  const { logs: told } = await ask<{ logs: LogEntry[] }>(withQuery(at("jobs", id, "logs"), { level: "info" }), signal);
  return told;
}

/** Makes a job and puts it into the queue; returns its id. */
export async function startJob(graph: JsonObject, title: string, signal?: AbortSignal): Promise<string> {
  const made = await send("POST", at("jobs"), { title, process: { process_graph: graph } }, signal);
  const id = made.get("OpenEO-Identifier") ?? "";
  await send("POST", at("jobs", id, "results"), undefined, signal);
  return id;
}

/** A worker of a job. */
export interface Worker {
  name: string;
  silent: boolean;
  /** Since it was heard, seconds. */
  heard_seconds: number;
  made: number;
  failed: number;
  at_hand: number;
  per_second: number;
  memory_bytes: number;
  decoded_bytes: number;
  written_bytes: number;
}

/** Which blocks of one result are done: a letter for each cell, row by row. */
export interface BlockMap {
  place: string;
  rows: number;
  columns: number;
  /** Rows and columns of blocks. */
  blocks: [number, number];
  cells: string;
  counts: Record<"done" | "failed" | "running" | "missing", number>;
}

/** How a job gets on. */
export interface JobBlocks {
  state: string;
  unit: string;
  done: number;
  total: number;
  failed: number;
  per_second: number;
  left_seconds: number | null;
  workers: Worker[];
  maps: BlockMap[];
}

/** Which blocks of a job are done, and who computes them. */
export async function blocks(id: string, signal?: AbortSignal): Promise<JobBlocks> {
  return ask<JobBlocks>(at("jobs", id, "blocks"), signal);
}

/** Stops a job that waits or runs. */
export async function stopJob(id: string): Promise<void> {
  await send("DELETE", at("jobs", id, "results"));
}

export async function deleteJob(id: string): Promise<void> {
  await send("DELETE", at("jobs", id));
}

/** Tells of a job until it has ended. */
export async function followJob(id: string, tell: (job: Job) => void, signal: AbortSignal): Promise<Job> {
  for (let pause = FIRST; ; pause = Math.min(LAST, pause * SLOWER)) {
    const now = await job(id, signal);
    tell(now);
    if (ENDED.has(now.status)) return now;
    await waited(pause, signal);
  }
}

/** Resolves after a while, or rejects when nobody waits any more. */
export function waited(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, stopped) => {
    const end = () => stopped(new DOMException("Nobody follows it any more.", "AbortError"));
    if (signal.aborted) return end();
    const timer = setTimeout(() => { signal.removeEventListener("abort", end); done(); }, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); end(); }, { once: true });
  });
}

interface Told {
  links?: { rel: string; href: string }[];
  assets?: Record<string, { href: string; "file:size"?: number; title?: string }>;
}

export async function results(id: string, signal?: AbortSignal): Promise<Results> {
  const told = await ask<Told>(at("jobs", id, "results"), signal);
  const files = Object.entries(told.assets ?? {}).map(([name, asset]): ExportFile => ({
    name, bytes: asset["file:size"] ?? null,
    // Signed addresses are as the server believes to be reached; the page knows where it really is.
    save: async () => download(await (await fetched(onHere(asset.href))).blob(), name),
  }));
  return { canonical: told.links?.find((one) => one.rel === "canonical")?.href ?? null, files };
}

/** Exports of the view, as jobs. */
export class JobExporter implements Exporter {
  /** @param began told the id of every job that is started. */
  constructor(private readonly began: (id: string) => void) {}

  async start({ source, area, date, format, title }: ExportOrder, signal: AbortSignal): Promise<string> {
    const graph = exportGraph(source, area, date, format);
    const id = await startJob(graph, title, signal);
    this.began(id);
    return id;
  }

  async follow(id: string, tell: (job: ExportJob) => void, signal: AbortSignal): Promise<ExportJob> {
    const ended = await followJob(id, (now) => tell({ status: now.status, progress: now.progress ?? null }), signal);
    const told: ExportJob = { status: ended.status, progress: ended.progress ?? null };
    if (ended.status === "finished") return { ...told, files: (await results(id, signal)).files };
    const last = (await logs(id, signal)).findLast((one) => one.level === "error");
    return last ? { ...told, message: last.message } : told;
  }

  stop(id: string): Promise<void> {
    return stopJob(id);
  }
}
