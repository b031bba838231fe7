// Chooses what this page shows, and says what to do where it cannot be shown.
import { at, logIn, token } from "./api.js";
import { collectionPage } from "./collection.js";
import { el, link } from "./dom.js";
import { featureCollections, featureMap } from "./features.js";
import { itemPage } from "./item.js";
import { searchPage } from "./items.js";
import { listPage } from "./list.js";

const $ = (id) => document.getElementById(id);
const { kind, collection, item } = document.documentElement.dataset;
const PAGES = { collections: listPage, collection: collectionPage, items: searchPage, search: searchPage, item: itemPage,
  features: featureCollections, "feature-map": featureMap };
const accounts = Boolean($("account").dataset.accounts);

function trail() {
  const steps = [];
  if (kind === "feature-map") {
    steps.push([at("features"), "Geometries"]);
    if (item) steps.push([at("features", "collections", collection), collection]);
  } else if (kind !== "features" && kind !== "collections" && kind !== "search") steps.push([at("collections"), "Collections"]);
  if (kind === "items" || kind === "item") steps.push([at("collections", collection), collection]);
  if (kind === "item") steps.push([at("collections", collection, "items"), "Items"]);
  if (steps.length) $("trail").replaceChildren(el("ol", {}, steps.map(([to, name]) => el("li", {}, link(to.href, name)))));
}

async function show() {
  const page = $("page");
  page.setAttribute("aria-busy", "true");
  $("message").hidden = true;
  try {
    const { title, content } = await PAGES[kind]();
    document.title = `${title} - Terrazzo`;
    page.replaceChildren(...content);
  } catch (error) {
    failed(page, error);
  }
  page.setAttribute("aria-busy", "false");
  document.documentElement.dataset.loaded = kind;
}

function failed(page, error) {
  const missing = error.status === 404;
  const title = missing ? "Not found" : error.status === 401 || error.status === 403 ? "Not for you" : "This does not work";
  const advice = [];
  if (accounts && [401, 403, 404].includes(error.status)) {
    const who = token.get() ? "You may have to log in as somebody else" : "If it is not for everybody, log in";
    advice.push(el("p", {}, `${who}. `, el("button", { type: "button", class: "main", onclick: ask }, "Log in")));
  }
  if (missing) advice.push(el("p", {}, "What there is: ", link(at("collections").href, "all collections"), ", ", link(at("search").href, "all items"), "."));
  if (!error.status) advice.push(el("p", {}, "Load the page again; perhaps the server cannot be reached."));
  if (error.status === 400) advice.push(el("p", {}, "Change what is wrong in the address, or ", link(location.pathname, "begin anew"), "."));
  document.title = `${title} - Terrazzo`;
  page.replaceChildren(el("h1", {}, title), el("p", { class: "wrong" }, error.message), ...advice);
}

function ask() {
  $("refused").textContent = "";
  $("log-in").showModal();
}

function account() {
  $("account").hidden = !accounts;
  $("account").textContent = token.get() ? "Log out" : "Log in";
}

$("account").addEventListener("click", () => {
  if (!token.get()) return ask();
  token.drop();
  account();
  show();
});
$("never-mind").addEventListener("click", () => $("log-in").close());
$("log-in").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await logIn($("user").value, $("password").value, $("token").value.trim());
    $("password").value = $("token").value = "";
    $("log-in").close();
    account();
    await show();
  } catch (error) {
    token.drop();
    $("refused").textContent = error.message;
  }
});
trail();
account();
show();
