/** Elements out of data. Whatever comes from a catalogue becomes text, never markup or a script. */
import { h, type Attributes, type Child } from "../core/dom";
import type { Document, Json } from "../http/server";

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag: string, attributes: Attributes = {}, ...children: (Child | Child[])[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((one): one is Node | string => one instanceof Node || typeof one === "string"));
  return element;
}

/** An address that may be clicked, or null: only of the web, as the rest may run or open something. */
function webAddress(href: unknown): string | null {
  if (typeof href !== "string") return null;
  try {
    const url = new URL(href, location.href);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** A link if the address may be clicked, else its text. */
export function link(href: unknown, name?: string, attributes: Attributes = {}): HTMLElement {
  const url = webAddress(href);
  const shownText = name || String(href ?? "");
  if (!url) return h("span", { title: String(href ?? "") }, shownText);
  return h("a", { ...attributes, href: url, rel: "noreferrer" }, shownText);
}

export const text = (value: unknown): string => (typeof value === "string" ? value : "");
export const listed = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);
export const object = (value: unknown): Document =>
  (value && typeof value === "object" && !Array.isArray(value) ? (value as Document) : {});

/** The few things of Markdown that descriptions use: paragraphs, lists, headings, code, stress, links. */
export function prose(source: unknown): HTMLElement[] {
  const parts = text(source).replace(/\r\n?/g, "\n").split(/\n{2,}/).filter((part) => part.trim());
  return parts.map((part) => {
    const lines = part.split("\n");
    if (lines.every((line) => /^\s*[-*]\s+/.test(line))) {
      return h("ul", {}, lines.map((line) => h("li", {}, spans(line.replace(/^\s*[-*]\s+/, "")))));
    }
    const heading = /^#{1,6}\s+(.*)$/.exec(part.trim());
    return heading ? h("h3", {}, spans(heading[1]!)) : h("p", {}, spans(part));
  });
}

const SPAN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]*)\]\(([^)\s]+)\)|(https?:\/\/[^\s<>()"']+[^\s<>()"'.,;:])/g;

function spans(line: string): Child[] {
  const found: Child[] = [];
  let end = 0;
  for (const match of line.matchAll(SPAN)) {
    const [whole, code, strong, stress, label, href, url] = match;
    found.push(line.slice(end, match.index));
    if (code) found.push(h("code", {}, code));
    else if (strong) found.push(h("strong", {}, strong));
    else if (stress) found.push(h("em", {}, stress));
    else if (href) found.push(link(href, label || href));
    else found.push(link(url, url));
    end = match.index + whole.length;
  }
  return [...found, line.slice(end)];
}

export const day = (moment: unknown): string => text(moment).slice(0, 10);

/** 2018-05-01T10:20:31.123000Z is 2018-05-01 10:20:31; midnight is the day alone. */
export const moment = (time: unknown): string =>
  text(time).replace(/(\.\d+)?(Z|\+00:00)$/, "").replace("T00:00:00", "").replace("T", " ");

export function period(interval: unknown): string {
  const [first, last] = listed(interval).map(day);
  if (!first && !last) return "no dates";
  return first === last ? first! : `${first || "…"} to ${last || "…"}`;
}

export const count = (number: number): string => number.toLocaleString("en").replaceAll(",", "\u202f");

export const plural = (number: number, name: string): string => `${count(number)} ${name}${number === 1 ? "" : "s"}`;

/** A value of a property as text; what is long or nested as JSON. */
export function shown(value: unknown): string {
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? moment(value) : value;
  if (typeof value === "number") return String(+value.toPrecision(8));
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.map(shown).join(", ");
  return value === null ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function table(caption: string, heads: string[], rows: HTMLElement[]): HTMLElement {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows)));
}

export function section(title: string, ...content: (Child | Child[])[]): HTMLElement {
  return h("section", {}, h("h2", {}, title), ...content);
}

/** A list of terms and what they are; those without are left out. */
export function facts(pairs: [string, Child | Child[]][]): HTMLElement {
  return h("dl", {}, pairs.filter(([, value]) => value && (!Array.isArray(value) || value.length)).map(
    ([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
