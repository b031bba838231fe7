/** Tiles straight from the server that computes them, where the browser reaches it: the kernel may be busy then. */

import { type Backend, BackendError, type Method, type Picture, type Progress, isAbort } from "../core/backend";
import { type TileParams, resolutionOf, tileAddress } from "../http/tile";
import type { KernelBackend } from "./kernel";

/** Where a server has a layer, and who asks; the kernel tells it of layers of a connection. */
interface Direct {
  /** Address of the server. */
  url: string;
  /** What the server calls the layer. */
  layer: string;
  /** Of the connection; null without a log-in. */
  token: string | null;
}

type Fetch = (address: URL, options: RequestInit) => Promise<Response>;

/** How long a server may take to answer before it counts as out of reach; tiles come by the kernel meanwhile. */
const PATIENCE_MS = 10_000;
/** Answers that the server gives to all tiles of a layer: somebody has to log in anew, or it was forgotten. */
const CLOSED = [401, 403, 404];

/** Asks the kernel for everything, but the server of a layer for its tiles if it has answered this page. */
export class NearestBackend implements Backend {
  readonly #ways = new Map<string, Direct>();

  constructor(
    private readonly kernel: KernelBackend,
    private readonly page: Pick<Location, "protocol" | "hostname"> = location,
    private readonly fetch: Fetch = (address, options) => globalThis.fetch(address, options),
  ) {}

  async ask<T>(method: Method, layer: string | null, params: object, signal?: AbortSignal): Promise<T> {
    const answer = await this.kernel.ask<T>(method, layer, params, signal);
    if (method === "open") {
      const { id, direct } = answer as { id: string; direct?: Direct | null };
      if (direct) void this.#try(id, direct);
    }
    return answer;
  }

  async picture(method: Method, layer: string, params: object, signal?: AbortSignal, progress?: Progress): Promise<Picture> {
    const way = method === "tile" ? this.#ways.get(layer) : undefined;
    if (way) {
      try {
        return await this.#tile(way, params as TileParams, signal);
      } catch (error) {
        if (isAbort(error)) throw error;
        if (!(error instanceof BackendError) || CLOSED.includes(error.status)) this.#ways.delete(layer);
      }
    }
    // Whatever the server said: by the kernel it comes in words, or with a token that is not too old.
    return this.kernel.picture(method, layer, params, signal, progress);
  }

  /** Find out whether the server lets this page ask, with the rights of the connection. */
  async #try(id: string, direct: Direct): Promise<void> {
    if (!mayReach(direct.url, this.page) || !mayTell(direct)) return;
    try {
      const address = new URL(`layers/${encodeURIComponent(direct.layer)}`, rooted(direct.url));
      const answer = await this.fetch(address, asking(direct, AbortSignal.timeout(PATIENCE_MS)));
      if (answer.ok) this.#ways.set(id, direct);
    } catch {
      // It is not reached from here, or does not let pages of this site ask.
    }
  }

  async #tile(way: Direct, params: TileParams, signal?: AbortSignal): Promise<Picture> {
    const answer = await this.fetch(tileAddress(rooted(way.url), way.layer, params), asking(way, signal));
    if (!answer.ok) throw new BackendError(answer.statusText, "", answer.status);
    return { blob: await answer.blob(), resolution: resolutionOf(answer) };
  }
}

/** Whether it makes sense to try: the kernel's own machine is not the browser's, and browsers refuse mixed content. */
export function mayReach(url: string, page: Pick<Location, "protocol" | "hostname">): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  if (isLoopback(hostname)) return isLoopback(page.hostname);
  return protocol === "https:" || (protocol === "http:" && page.protocol === "http:");
}

/**
 * Whether the token, if there is one, reaches nobody but the server: the address is the kernel's, but it is the browser
 * that finds out which machine has that name. So that machine has to prove it, or to be the browser's own.
 */
export function mayTell({ url, token }: Pick<Direct, "url" | "token">): boolean {
  const { protocol, hostname } = new URL(url);
  return !token || protocol === "https:" || isLoopback(hostname);
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

function asking({ token }: Direct, signal?: AbortSignal): RequestInit {
  return {
    credentials: "omit", redirect: "error", // for it might lead to somebody else
    ...(signal && { signal }), ...(token && { headers: { Authorization: `Bearer ${token}` } }),
  };
}

function rooted(url: string): URL {
  return new URL(url.endsWith("/") ? url : `${url}/`);
}
