/** The computing side over HTTP: the server that the page came from. */
import { BackendError, type Backend, type Method, type Picture, type Progress } from "../core/backend";
import type { TilePlace } from "../core/features";
import { at, fetched, Refused, withQuery } from "./server";
import { resolutionOf, tileAddress, type TileParams } from "./tile";

/** What a layer was opened with; the key of a service opens what is not for everybody. */
interface Opening {
  service?: { key?: string };
}

/** How the server tells what goes on meanwhile. */
const LINES = "application/x-ndjson";

export class HttpBackend implements Backend {
  /** What opened each layer, so that one that the server has forgotten is opened again. */
  readonly #opened = new Map<string, Opening>();

  /** What is being opened before somebody waits for it. */
  readonly #ahead = new Map<string, Promise<unknown>>();

  /** Begins to open something that will be asked for in a moment. */
  ahead(params: object): void {
    const opening = this.ask("open", null, params);
    opening.catch(() => undefined);  // whoever asks for it is told
    this.#ahead.set(JSON.stringify(params), opening);
  }

  async ask<T>(method: Method, layer: string | null, params: object, signal?: AbortSignal): Promise<T> {
    const begun = method === "open" && this.#ahead.get(JSON.stringify(params));
    if (begun) {
      this.#ahead.delete(JSON.stringify(params));
      return begun as Promise<T>;
    }
    const answer = await this.#again(layer, signal, () => this.#request(method, layer, params, signal));
    const told = (await answer.json()) as T;
    if (method === "open") this.#opened.set((told as { id: string }).id, params);
    return told;
  }

  async picture(method: Method, layer: string, params: object, signal?: AbortSignal, progress?: Progress): Promise<Picture> {
    if (progress) return this.#again(layer, signal, async () => streamed(await this.#request(method, layer, params, signal, LINES), progress));
    const answer = await this.#again(layer, signal, () => this.#request(method, layer, params, signal));
    return { blob: await answer.blob(), resolution: resolutionOf(answer) };
  }

  /** Asks; where the server has forgotten the layer it is opened anew, once. */
  async #again<T>(layer: string | null, signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      const opened = layer === null ? undefined : this.#opened.get(layer);
      if (!(error instanceof BackendError) || error.status !== 404 || !opened) throw error;
      await this.#request("open", null, opened, signal);
      return request();
    }
  }

  async #request(method: Method, layer: string | null, params: object, signal?: AbortSignal, accept?: string): Promise<Response> {
    const [place, options] = asked(method, layer, params, signal);
    const address = withQuery(place, { key: layer === null ? undefined : this.#opened.get(layer)?.service?.key });
    try {
      return await fetched(address, accept ? { ...options, headers: { ...options.headers, Accept: accept } } : options);
    } catch (error) {
      if (error instanceof Refused) throw new BackendError(error.message, error.code, error.status);
      if (error instanceof TypeError) throw new BackendError("The server cannot be reached. Try again in a moment.", "Unreachable");
      throw error;
    }
  }
}

/** The request that a question is. */
function asked(method: Method, layer: string | null, params: object, signal?: AbortSignal): [URL, RequestInit] {
  const options: RequestInit = signal ? { signal } : {};
  if (method === "places") return [withQuery(at("places"), params as Record<string, string>), options];
  if (method === "colormaps") return [at("colormaps"), { ...options, cache: "default" }];
  if (method === "open") return [at("layers"), posted(params, options)];
  const id = layer ?? "";
  if (method === "about") return [at("layers", id), options];
  if (method === "tile") return [tileAddress(at(), id, params as TileParams), { ...options, cache: "default" }];
  if (method === "features") {
    const { matrix, z, x, y } = params as TilePlace;
    return [at("features", "collections", id, "tiles", matrix, String(z), String(y), String(x)), { ...options, cache: "default" }];
  }
  return [at("layers", id, method), posted(params, options)];
}

function posted(body: object, options: RequestInit): RequestInit {
  return { ...options, method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

interface Line {
  frame?: number;
  of?: number;
  content?: string;
  media_type?: string;
  resolution?: number;
  code?: string;
  message?: string;
}

/** A file that comes at the end of lines that tell how far it is. */
async function streamed(answer: Response, progress: Progress): Promise<Picture> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value = "" } = await reader.read();
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter(Boolean).map((one) => JSON.parse(one) as Line)) {
      if (line.message !== undefined) throw new BackendError(line.message, line.code ?? "", 500);
      if (line.frame !== undefined && line.of !== undefined) progress(line.frame, line.of);
      if (line.content !== undefined) return { blob: unpacked(line.content, line.media_type ?? ""), resolution: line.resolution ?? null };
    }
    if (done) throw new BackendError("The server stopped before all was there. Try again.", "Incomplete");
  }
}

function unpacked(content: string, type: string): Blob {
  return new Blob([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], { type });
}

/** For maps that compute nothing. */
export const nothing: Backend = {
  ask: () => Promise.reject(new BackendError("Nothing is computed here.", "Nothing")),
  picture: () => Promise.reject(new BackendError("Nothing is computed here.", "Nothing")),
};
