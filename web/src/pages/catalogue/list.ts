/** The page of all collections: cards, a box to filter them, and where they are. */
import { h, type Attributes } from "../../core/dom";
import { count, link, listed, object, period, plural, text } from "../content";
import { FootprintMap } from "../footprints";
import { hasFiles, preview, whenSeen } from "../preview";
import { all, ask, at, withQuery, type Document } from "../../http/server";
import type { Content } from "./page";

export async function listPage(): Promise<Content> {
  const address = at("collections");
  address.search = location.search;
  const [found, numbers] = await Promise.all([all(address, "collections"), counts()]);
  const boxes = found.map((one) => ({ bbox: listed(object(object(one.extent).spatial).bbox)[0] }));
  const map = new FootprintMap("Map of where the collections are.", {
    least: 20,
    onpick: (key) => { if (key !== null) cards[key]?.querySelector("a")?.focus(); },
    onhover: (key) => cards.forEach((one, i) => one.classList.toggle("hover", i === key)),
  });
  const cards = found.map((one, key) => card(one, numbers?.[text(one.id)] ?? (numbers ? 0 : null), {
    onpointerenter: () => map.mark(key, "hover"), onpointerleave: () => map.mark(null, "hover"),
    onfocusin: () => map.mark(key, "hover"),
  }));
  map.show(boxes);
  const told = h("p", { class: "soft", role: "status" }, told_(found.length, found.length));
  const nothing = h("p", {}, "There are no collections yet, or none for everybody. Make one with ",
    h("code", {}, "terrazzo ingest PATH --collection ID"), " or look at ", h("code", {}, "terrazzo demo"), ".");
  const asked = new URLSearchParams(location.search).get("q") ?? "";
  const list = found.length ? h("ul", { class: "cards" }, cards)
    : asked ? h("p", {}, "No collection is like that. ", link(at("collections").href, "All collections")) : nothing;
  return {
    title: "Collections",
    content: [h("h1", {}, "Collections"),
      h("div", { class: "split" },
        h("div", {}, filterForm(found, cards, asked, told), told, list),
        h("div", { class: "beside" }, map.host,
          h("p", { class: "soft" }, link(at("search").href, "Search the items of all collections"), " · ",
            "programs get this address as JSON")))],
  };
}

/** What is typed filters what is here; Enter asks the server, which knows words, OR and NOT. */
function filterForm(found: Document[], cards: HTMLElement[], asked: string, told: HTMLElement): HTMLElement {
  const words = found.map((one) => [one.id, one.title, one.description, ...listed(one.keywords),
    ...listed(one.providers).map((provider) => object(provider).name)].map(text).join(" ").toLowerCase());
  const filter = h("input", { type: "search", name: "q", value: asked, placeholder: "forest, Sentinel-2 …", oninput: () => {
    const wanted = filter.value === asked ? [] : filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const [i, one] of cards.entries()) {
      one.hidden = !wanted.every((word) => words[i]!.includes(word));
      left += one.hidden ? 0 : 1;
    }
    told.textContent = told_(left, found.length);
  } });
  return h("form", { role: "search", onsubmit: (event: Event) => {
    event.preventDefault();
    location.assign(withQuery(at("collections"), { q: filter.value.trim() }));
  } }, h("label", {}, "Find a collection", filter));
}

const told_ = (left: number, whole: number): string => (left === whole ? plural(whole, "collection") : `${count(left)} of ${count(whole)}`);

/** How many items each collection has; null where the server does not tell. */
async function counts(): Promise<Record<string, number> | null> {
  interface Buckets { name: string; buckets?: { key: string; frequency: number }[] }
  try {
    const { aggregations } = await ask<{ aggregations: Buckets[] }>(withQuery(at("aggregate"), { aggregations: "collection_frequency" }));
    const found = aggregations.find((one) => one.name === "collection_frequency");
    return Object.fromEntries((found?.buckets ?? []).map((bucket) => [bucket.key, bucket.frequency]));
  } catch {
    return null;
  }
}

function card(one: Document, number: number | null, events: Attributes): HTMLElement {
  const id = text(one.id);
  const about = text(one.description).replace(/[#*`]/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  const small = h("div", { class: "thumbnail", "aria-hidden": "true" });
  whenSeen(small, () => newest(id));
  const told = [period(listed(object(object(one.extent).temporal).interval)[0]), number === null ? "" : plural(number, "item"),
    text(one.license) && `licence ${text(one.license)}`].filter(Boolean).join(" · ");
  return h("li", { class: "card", ...events }, small, h("div", {},
    h("h2", {}, link(at("collections", id).href, text(one.title) || id)),
    h("p", { class: "soft" }, h("code", {}, id)),
    about && about !== one.title && about !== id ? h("p", {}, about.length > 240 ? `${about.slice(0, 238).trimEnd()} …` : about) : null,
    h("p", { class: "soft" }, told)));
}

/** The picture of a collection is its newest item's. */
async function newest(id: string): Promise<HTMLElement> {
  const { features } = await ask<{ features: Document[] }>(withQuery(at("collections", id, "items"), { limit: 1, fields: "id,assets" }));
  const [first] = features;
  if (!first || !hasFiles(first)) throw new Error("There is nothing to make a picture of.");
  return preview(id, text(first.id), "", 256);
}
