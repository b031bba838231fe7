/** The computing side over the channel between a notebook's page and its kernel: no port is needed. */

import { type Backend, BackendError, type Method, type Picture } from "../core/backend";

/** What the page and the kernel send each other by. */
export interface Channel {
  send(message: object): void;
  /** Calls `listener` for every message; the answer ends that. */
  listen(listener: (message: unknown, buffers: readonly DataView[]) => void): () => void;
}

/** Questions that the kernel is asked at a time; the others wait here, where they can be dropped. */
const IN_FLIGHT = 5;
/** After how long a question is asked again: what is sent while a kernel starts may be lost. */
const AGAIN_MS = 15_000;
/** After how long people are told that something is waited for. */
const PATIENCE_MS = 4_000;
const TICK_MS = 1_000;

/** What a kernel is asked besides: files of the bundle, and runs that export the view. */
export type KernelMethod =
  | Method | "asset" | "export_start" | "export_status" | "export_stop" | "export_file";

interface Answer {
  result: unknown;
  buffers: readonly DataView[];
}

interface Question {
  id: string;
  message: object;
  progress: ((done: number, of: number) => void) | undefined;
  resolve(answer: Answer): void;
  reject(reason: unknown): void;
  asked: number;
  sent: number;
}

export class KernelBackend implements Backend {
  /** Called when the kernel lets people wait, and when it does not any more. */
  onwaiting: (waiting: boolean) => void = () => undefined;
  readonly #channel: Channel;
  readonly #now: () => number;
  readonly #mine = Math.random().toString(36).slice(2);
  readonly #waiting: Question[] = [];
  readonly #sent = new Map<string, Question>();
  readonly #unlisten: () => void;
  readonly #clock: ReturnType<typeof setInterval>;
  #count = 0;
  #slow = false;

  constructor(channel: Channel, now: () => number = () => performance.now()) {
    this.#channel = channel;
    this.#now = now;
    this.#unlisten = channel.listen((message, buffers) => this.#take(message, buffers));
    this.#clock = setInterval(() => this.tick(), TICK_MS);
  }

  async ask<T>(
    method: KernelMethod, layer: string | null, params: object, signal?: AbortSignal,
  ): Promise<T> {
    return (await this.#ask(method, layer, params, signal)).result as T;
  }

  async picture(
    method: KernelMethod, layer: string | null, params: object, signal?: AbortSignal,
    progress?: (done: number, of: number) => void,
  ): Promise<Picture> {
    const { result, buffers } = await this.#ask(method, layer, params, signal, progress);
    const told = result as { media_type: string; resolution?: number | null };
    const parts = buffers.map((one) => one as DataView<ArrayBuffer>);
    return { blob: new Blob(parts, { type: told.media_type }), resolution: told.resolution ?? null };
  }

  /** Ask again what has had no answer for long. */
  tick(): void {
    const now = this.#now();
    let longest = 0;
    for (const question of this.#sent.values()) {
      longest = Math.max(longest, now - question.asked);
      if (now - question.sent >= AGAIN_MS) {
        question.sent = now;
        this.#channel.send(question.message);
      }
    }
    this.#tell(longest >= PATIENCE_MS);
  }

  destroy(): void {
    clearInterval(this.#clock);
    this.#unlisten();
    for (const id of this.#sent.keys()) this.#channel.send({ cancel: id });
    const ended = new DOMException("The map was closed.", "AbortError");
    for (const question of [...this.#waiting, ...this.#sent.values()]) question.reject(ended);
    this.#waiting.length = 0;
    this.#sent.clear();
  }

  #ask(
    method: KernelMethod, layer: string | null, params: object, signal?: AbortSignal,
    progress?: (done: number, of: number) => void,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(aborted());
        return;
      }
      const id = `${this.#mine}-${++this.#count}`;
      const gone = () => this.#drop(question);
      const question: Question = {
        id, asked: this.#now(), sent: 0, progress,
        message: { id, method, layer, params, ...(progress && { progress: true }) },
        resolve: (answer) => {
          signal?.removeEventListener("abort", gone);
          resolve(answer);
        },
        reject: (reason) => {
          signal?.removeEventListener("abort", gone);
          reject(reason);
        },
      };
      signal?.addEventListener("abort", gone, { once: true });
      this.#waiting.push(question);
      // Whatever is asked in one go is put in order first: the newest is sent first.
      queueMicrotask(() => this.#send());
    });
  }

  #send(): void {
    while (this.#sent.size < IN_FLIGHT) {
      const question = this.#waiting.pop();
      if (!question) return;
      question.asked = question.sent = this.#now();
      this.#sent.set(question.id, question);
      this.#channel.send(question.message);
    }
  }

  #drop(question: Question): void {
    const at = this.#waiting.indexOf(question);
    if (at >= 0) this.#waiting.splice(at, 1);
    if (this.#sent.delete(question.id)) this.#channel.send({ cancel: question.id });
    question.reject(aborted());
    this.#send();
  }

  #take(given: unknown, buffers: readonly DataView[]): void {
    const message = given as {
      id?: string; result?: unknown; error?: { code: string; message: string };
      progress?: [number, number];
    } | null;
    const question = typeof message?.id === "string" ? this.#sent.get(message.id) : undefined;
    if (!message || !question) return; // of another view of the map, or not wanted any more
    this.#tell(false);
    if (message.progress) {
      question.sent = this.#now();
      question.progress?.(...message.progress);
      return;
    }
    this.#sent.delete(question.id);
    if (message.error) {
      question.reject(new BackendError(message.error.message, message.error.code));
    } else {
      question.resolve({ result: message.result, buffers });
    }
    this.#send();
  }

  #tell(slow: boolean): void {
    if (slow === this.#slow) return;
    this.#slow = slow;
    this.onwaiting(slow);
  }
}

function aborted(): DOMException {
  return new DOMException("Nobody wants it any more.", "AbortError");
}
