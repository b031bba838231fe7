/** The catalogue's pages: chooses what this page shows, and says what to do where it cannot be shown. */
import { account } from "./account";
import { collectionPage } from "./catalogue/collection";
import { featureCollections, featureMap } from "./catalogue/features";
import { itemPage } from "./catalogue/item";
import { searchPage } from "./catalogue/items";
import { listPage } from "./catalogue/list";
import { here, type Content } from "./catalogue/page";
import { link } from "./content";
import { h } from "../core/dom";
import { at, Refused, token, words } from "../http/server";

const PAGES: Record<string, () => Promise<Content>> = {
  collections: listPage, collection: collectionPage, items: searchPage, search: searchPage, item: itemPage,
  features: featureCollections, "feature-map": featureMap,
};

const part = (id: string): HTMLElement => document.getElementById(id)!;

function trail(): void {
  const { kind, collection, item } = here;
  const steps: [URL, string][] = [];
  if (kind === "feature-map") {
    steps.push([at("features"), "Geometries"]);
    if (item) steps.push([at("features", "collections", collection), collection]);
  } else if (!["features", "collections", "search"].includes(kind)) steps.push([at("collections"), "Collections"]);
  if (kind === "items" || kind === "item") steps.push([at("collections", collection), collection]);
  if (kind === "item") steps.push([at("collections", collection, "items"), "Items"]);
  if (steps.length) part("trail").replaceChildren(h("ol", {}, steps.map(([to, name]) => h("li", {}, link(to.href, name)))));
}

async function show(): Promise<void> {
  const page = part("page");
  page.setAttribute("aria-busy", "true");
  try {
    const { title, content } = await PAGES[here.kind]!();
    document.title = `${title} - Terrazzo`;
    page.replaceChildren(...content);
  } catch (error) {
    failed(page, error);
  }
  page.setAttribute("aria-busy", "false");
  document.documentElement.dataset.loaded = here.kind;
}

function failed(page: HTMLElement, error: unknown): void {
  const status = error instanceof Refused ? error.status : 0;
  const missing = status === 404;
  const title = missing ? "Not found" : status === 401 || status === 403 ? "Not for you" : "This does not work";
  const advice: HTMLElement[] = [];
  if (who.there && [401, 403, 404].includes(status)) {
    const said = token.get() ? "You may have to log in as somebody else" : "If it is not for everybody, log in";
    advice.push(h("p", {}, `${said}. `, h("button", { type: "button", class: "main", onclick: who.ask }, "Log in")));
  }
  if (missing) advice.push(h("p", {}, "What there is: ", link(at("collections").href, "all collections"), ", ", link(at("search").href, "all items"), "."));
  if (!status) advice.push(h("p", {}, "Load the page again; perhaps the server cannot be reached."));
  if (status === 400) advice.push(h("p", {}, "Change what is wrong in the address, or ", link(location.pathname, "begin anew"), "."));
  document.title = `${title} - Terrazzo`;
  page.replaceChildren(h("h1", {}, title), h("p", { class: "wrong" }, words(error)), ...advice);
}

const who = account(part("account") as HTMLButtonElement, () => void show());
trail();
void show();
