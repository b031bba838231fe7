/** Exports by the kernel: runs in its own threads, into the folder of the notebook. */

import { download } from "../core/download";
import type { Exporter, ExportJob, ExportOrder } from "../core/export";
import type { KernelBackend } from "./kernel";

const POLL_MS = 500;
const ENDED = ["finished", "error", "canceled"];

type Status = Omit<ExportJob, "files"> & { files: { name: string; bytes: number }[] };

export class KernelExporter implements Exporter {
  constructor(private readonly backend: KernelBackend) {}

  /** The kernel has the graph of the layer, and cuts it itself. */
  async start(
    { layer, area, date, format, title }: ExportOrder, signal: AbortSignal,
  ): Promise<string> {
    const { bounds, crs } = area;
    const asked = { layer, bounds, crs, date: date && date.label, format, title };
    return (await this.backend.ask<{ id: string }>("export_start", null, asked, signal)).id;
  }

  async follow(
    id: string, tell: (job: ExportJob) => void, signal: AbortSignal,
  ): Promise<ExportJob> {
    for (;;) {
      const told = await this.backend.ask<Status>("export_status", null, { id }, signal);
      const job = { ...told, files: told.files.map((file) => ({
        ...file, save: () => this.#save(id, file.name),
      })) };
      tell(job);
      if (ENDED.includes(job.status)) return job;
      await later(signal);
    }
  }

  async stop(id: string): Promise<void> {
    await this.backend.ask("export_stop", null, { id });
  }

  async #save(id: string, name: string): Promise<void> {
    const { blob } = await this.backend.picture("export_file", null, { id, name });
    download(blob, name);
  }
}

function later(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, POLL_MS);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("Nobody wants it any more.", "AbortError"));
    }, { once: true });
  });
}
