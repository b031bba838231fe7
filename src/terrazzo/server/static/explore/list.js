// The page of all collections: cards, a box to filter them, and where they are.
import { all, ask, at } from "./api.js";
import { count, el, link, listed, object, period, text } from "./dom.js";
import { FootprintMap } from "./map.js";
import { preview } from "./preview.js";

export async function listPage() {
  const address = at("collections");
  address.search = location.search;
  const [found, numbers] = await Promise.all([all(address, "collections"), counts()]);
  const boxes = found.map((one) => ({ id: one.id, bbox: listed(object(one.extent).spatial?.bbox)[0] }));
  const cards = found.map((one, key) => card(one, numbers?.[one.id] ?? (numbers ? 0 : null), {
    onpointerenter: () => map.mark(key, "hover"), onpointerleave: () => map.mark(null, "hover"),
    onfocusin: () => map.mark(key, "hover"),
  }));
  const map = new FootprintMap("Map of where the collections are.", {
    least: 20,
    onpick: (key) => cards[key]?.querySelector("a").focus(),
    onhover: (key) => cards.forEach((one, i) => one.classList.toggle("hover", i === key)),
  });
  map.show(boxes);
  const told = el("p", { class: "soft", role: "status" }, told_(found.length, found.length));
  const words = found.map((one) => [one.id, one.title, one.description, ...listed(one.keywords),
    ...listed(one.providers).map((provider) => object(provider).name)].map(text).join(" ").toLowerCase());
  const asked = new URLSearchParams(location.search).get("q") ?? "";
  const filter = el("input", { type: "search", name: "q", value: asked, placeholder: "forest, Sentinel-2 …", oninput: () => {
    const wanted = filter.value === asked ? [] : filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const [i, one] of cards.entries()) {
      one.hidden = !wanted.every((word) => words[i].includes(word));
      left += !one.hidden;
    }
    told.textContent = told_(left, found.length);
  } });
  // What is typed filters what is here; Enter asks the server, which knows words, OR and NOT.
  const form = el("form", { role: "search", onsubmit: (event) => {
    event.preventDefault();
    const sought = at("collections");
    if (filter.value.trim()) sought.search = new URLSearchParams({ q: filter.value.trim() });
    location.assign(sought);
  } }, el("label", {}, "Find a collection", filter));
  const nothing = el("p", {}, "There are no collections yet, or none for everybody. Make one with ",
    el("code", {}, "terrazzo ingest PATH --collection ID"), " or look at ", el("code", {}, "terrazzo demo"), ".");
  const list = el("ul", { class: "cards" }, cards);
  return {
    title: "Collections",
    content: [el("h1", {}, "Collections"),
      el("div", { class: "split" },
        el("div", {}, form, told, found.length ? list : asked ? el("p", {}, "No collection is like that. ", link(at("collections").href, "All collections")) : nothing),
        el("div", { class: "beside" }, map.host,
          el("p", { class: "soft" }, link(at("search").href, "Search the items of all collections"), " · ",
            "programs get this address as JSON")))],
  };
}

const told_ = (left, all_) => (left === all_ ? `${count(all_)} collection${all_ === 1 ? "" : "s"}` : `${count(left)} of ${count(all_)}`);

// How many items each collection has; null where the server does not tell.
async function counts() {
  const address = at("aggregate");
  address.search = new URLSearchParams({ aggregations: "collection_frequency" });
  try {
    const { aggregations } = await ask(address);
    const { buckets } = aggregations.find((one) => one.name === "collection_frequency");
    return Object.fromEntries(buckets.map((bucket) => [bucket.key, bucket.frequency]));
  } catch {
    return null;
  }
}

function card(one, number, events) {
  const about = text(one.description).replace(/[#*`]/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  const small = el("div", { class: "thumbnail", "aria-hidden": "true" });
  newest(one.id, small);
  const facts = [period(listed(object(one.extent).temporal?.interval)[0]), number === null ? "" : `${count(number)} item${number === 1 ? "" : "s"}`,
    text(one.license) && `licence ${one.license}`].filter(Boolean).join(" · ");
  return el("li", { class: "card", ...events }, small, el("div", {},
    el("h2", {}, link(at("collections", one.id).href, text(one.title) || one.id)),
    el("p", { class: "soft" }, el("code", {}, one.id)),
    about && about !== one.title && about !== one.id ? el("p", {}, about.length > 240 ? `${about.slice(0, 238).trimEnd()} …` : about) : null,
    el("p", { class: "soft" }, facts)));
}

// The picture of a collection is its newest item's, asked for once the card is seen.
function newest(id, place) {
  new IntersectionObserver(async (entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    const address = at("collections", id, "items");
    address.search = new URLSearchParams({ limit: 1, fields: "id" });
    try {
      const { features } = await ask(address);
      if (features.length) place.append(await preview(id, features[0].id, "", 256));
    } catch {
      place.classList.add("none");
    }
  }).observe(place);
}
