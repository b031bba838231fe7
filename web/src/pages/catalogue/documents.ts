/** What a browser would get as a page, as the JSON that programs get. */
import { h } from "../../core/dom";
import { download } from "../../core/download";
import { link, listed, object, text } from "../content";
import { fetched } from "../../http/server";
import type { Document } from "../../http/server";

export function json(name: string, address: URL): HTMLElement {
  const open = async (event: Event) => {
    event.preventDefault();
    const answer = await fetched(address, { headers: { Accept: "application/json" } });
    download(await answer.text(), `${name}.json`, "application/json");
  };
  return h("li", {}, h("a", { href: address.href, onclick: open }, `${name} as a JSON file`), ": ", h("code", {}, address.href));
}

/** Links of a document that lead on, but for those whose kind the page itself is about. */
export function further(document: Document, ours: ReadonlySet<string>): HTMLElement[] {
  return listed(document.links).map(object)
    .filter((one) => !ours.has(text(one.rel)) && !text(one.rel).startsWith("http://www.opengis.net/") && text(one.href))
    .map((one) => h("li", {}, link(one.href, text(one.title) || text(one.href)), h("span", { class: "soft" }, ` ${text(one.rel)}`)));
}
