// Elements out of data. Whatever comes from a catalogue becomes text, never markup or a script.
const SVG = "http://www.w3.org/2000/svg";

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const el = (tag, attributes, ...children) =>
  made(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) =>
  made(document.createElementNS(SVG, tag), attributes, children);

// An address that may be clicked, or null: only of the web, as the rest may run or open something.
function webAddress(href) {
  if (typeof href !== "string") return null;
  try {
    const url = new URL(href, location.href);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

// A link if the address may be clicked, else its text.
export function link(href, text, attributes = {}) {
  const url = webAddress(href);
  const shown = text || String(href ?? "");
  if (!url) return el("span", { title: String(href ?? "") }, shown);
  return el("a", { ...attributes, href: url, rel: "noreferrer" }, shown);
}

export const text = (value) => (typeof value === "string" ? value : "");
export const listed = (value) => (Array.isArray(value) ? value : []);
export const object = (value) =>
  (value && typeof value === "object" && !Array.isArray(value) ? value : {});

// The few things of Markdown that descriptions use: paragraphs, lists, headings, code, stress, links.
export function prose(source) {
  return text(source).replace(/\r\n?/g, "\n").split(/\n{2,}/).filter((part) => part.trim()).map((part) => {
    const lines = part.split("\n");
    if (lines.every((line) => /^\s*[-*]\s+/.test(line))) {
      return el("ul", {}, lines.map((line) => el("li", {}, spans(line.replace(/^\s*[-*]\s+/, "")))));
    }
    const heading = /^#{1,6}\s+(.*)$/.exec(part.trim());
    return heading ? el("h3", {}, spans(heading[1])) : el("p", {}, spans(part));
  });
}

const SPAN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]*)\]\(([^)\s]+)\)|(https?:\/\/[^\s<>()"']+[^\s<>()"'.,;:])/g;

function spans(line) {
  const found = [];
  let end = 0;
  for (const match of line.matchAll(SPAN)) {
    const [whole, code, strong, stress, label, href, url] = match;
    found.push(line.slice(end, match.index));
    if (code) found.push(el("code", {}, code));
    else if (strong) found.push(el("strong", {}, strong));
    else if (stress) found.push(el("em", {}, stress));
    else if (href) found.push(link(href, label || href));
    else found.push(link(url, url));
    end = match.index + whole.length;
  }
  return [...found, line.slice(end)];
}

export const day = (moment) => text(moment).slice(0, 10);

// 2018-05-01T10:20:31.123000Z is 2018-05-01 10:20:31; midnight is the day alone.
export const moment = (time) =>
  text(time).replace(/(\.\d+)?(Z|\+00:00)$/, "").replace("T00:00:00", "").replace("T", " ");

export function period(interval) {
  const [first, last] = listed(interval).map(day);
  if (!first && !last) return "no dates";
  return first === last ? first : `${first || "…"} to ${last || "…"}`;
}

export const count = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

// A value of a property as text; what is long or nested as JSON.
export function shown(value) {
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? moment(value) : value;
  if (typeof value === "number") return String(+value.toPrecision(8));
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.map(shown).join(", ");
  return value === null ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function table(caption, heads, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows)));
}

export function section(title, ...content) {
  return el("section", {}, el("h2", {}, title), ...content);
}

// A list of terms and what they are; those without are left out.
export function facts(pairs) {
  return el("dl", {}, pairs.filter(([, value]) => value && (!Array.isArray(value) || value.length)).map(
    ([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
