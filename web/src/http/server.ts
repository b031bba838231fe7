/** What the pages ask the server for: the documents that programs read at the same addresses. */
const TOKEN = "terrazzo-token";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Document = { [name: string]: Json };

/** The server said no, in words for people. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, said: { code?: string; message?: string }) {
    super(said.message || `The server answered ${status}.`);
    this.name = "Refused";
    this.status = status;
    this.code = said.code ?? "";
  }
}

/** Who is logged in, until the tab is closed. */
export const token = {
  get: (): string | null => sessionStorage.getItem(TOKEN),
  set: (text: string): void => sessionStorage.setItem(TOKEN, text),
  drop: (): void => sessionStorage.removeItem(TOKEN),
};

/** The address of a path of this server; relative, because a proxy may put it under another path. */
export function at(...path: string[]): URL {
  const root = document.documentElement.dataset.root ?? "./";
  return new URL(root + path.map(encodeURIComponent).join("/"), location.href);
}

/** An address with a query; what is empty is left out. */
export function withQuery(address: URL, query: Record<string, string | number | null | undefined>): URL {
  const asked = new URL(address);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") asked.searchParams.set(name, String(value));
  }
  return asked;
}

/** Whether an address is of this server: to others nobody's token goes, whoever wrote them down. */
function ours(address: URL | string): boolean {
  const root = at();
  const asked = new URL(address, location.href);
  return asked.origin === root.origin && asked.pathname.startsWith(root.pathname.replace(/\/?$/, "/"));
}

export async function fetched(address: URL | string, options: RequestInit = {}): Promise<Response> {
  const held = token.get();
  const headers = new Headers(options.headers);
  if (held && ours(address) && !headers.has("Authorization")) headers.set("Authorization", `Bearer ${held}`);
  // Not kept: at the same address the browser keeps the page.
  const answer = await fetch(address, { cache: "no-store", ...options, headers });
  if (answer.ok) return answer;
  const said = (await answer.json().catch(() => ({}))) as { code?: string; message?: string };
  if (said.code === "TokenInvalid") token.drop();
  throw new Refused(answer.status, said);
}

/** The JSON at an address. */
export async function ask<T = Document>(address: URL | string, signal?: AbortSignal): Promise<T> {
  const answer = await fetched(address, { headers: { Accept: "application/json" }, ...(signal && { signal }) });
  return (await answer.json()) as T;
}

/** Sends JSON; gives the headers of the answer, as some tell an id there. */
export async function send(
  method: "POST" | "PUT" | "PATCH" | "DELETE", address: URL, body?: unknown, signal?: AbortSignal,
): Promise<Headers> {
  const answer = await fetched(address, {
    method,
    headers: { Accept: "application/json", ...(body !== undefined && { "Content-Type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  });
  await answer.arrayBuffer();
  return answer.headers;
}

/**
 * The address behind a link of a document. Links are as the server believes to be reached; the page
 * knows where it really is, so only what is asked for is taken of them.
 */
export function onward(address: URL, document: Document): URL | null {
  const links = Array.isArray(document.links) ? document.links : [];
  const found = links.find((one) => (one as Document).rel === "next") as Document | undefined;
  if (typeof found?.href !== "string") return null;
  const next = new URL(address);
  next.search = new URL(found.href, location.href).search;
  return next;
}

/** The address of something of a job as it is reached from here: its document may tell another way. */
export function onHere(href: string): URL {
  const told = new URL(href, location.href), here = at();
  const beginning = told.pathname.lastIndexOf("/jobs/");
  if (beginning < 0) return told;
  here.pathname = here.pathname.replace(/\/$/, "") + told.pathname.slice(beginning);
  here.search = told.search;
  return here;
}

/** All of a list that comes in pages. */
export async function all<T = Document>(address: URL, member: string): Promise<T[]> {
  const found: T[] = [];
  for (let next: URL | null = address; next; ) {
    const document: Document = await ask(next);
    found.push(...(document[member] as T[]));
    next = onward(next, document);
  }
  return found;
}

/** Logs in with name and password, or with a token that somebody else gave. */
export async function logIn(user: string, password: string, text: string): Promise<void> {
  if (text) {
    token.set(text);
    await ask(at("me"));
    return;
  }
  const pair = new TextEncoder().encode(`${user}:${password}`);
  const answer = await fetch(at("credentials", "basic"), {
    headers: { Accept: "application/json", Authorization: `Basic ${btoa(String.fromCharCode(...pair))}` },
    cache: "no-store",
  });
  const said = (await answer.json()) as { access_token?: string; code?: string; message?: string };
  if (!answer.ok) throw new Refused(answer.status, said);
  token.set(`basic//${said.access_token}`);
}

/** What went wrong, as a sentence. */
export function words(error: unknown): string {
  if (error instanceof TypeError) return "The server cannot be reached. Try again in a moment.";
  return error instanceof Error ? error.message : String(error);
}
