// The graph editor: blocks on the canvas and JSON beside it, always the same graph.
import { ask, collections, processes, say } from "./openeo.js";

const $ = (id) => document.getElementById(id);
const builder = $("builder");
let known = [];
let saving = null;

function listed(term) {
  const wanted = term.trim().toLowerCase();
  const found = known.filter((p) => `${p.id} ${p.summary || ""}`.toLowerCase().includes(wanted));
  $("names").replaceChildren(...found.map((process) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = process.id;
    button.title = `${process.id}: ${process.summary || ""}`;
    button.addEventListener("click", () => added(process.id));
    const entry = document.createElement("li");
    entry.append(button);
    return entry;
  }));
}

function added(name) {
  try {
    builder.vueComponent.addProcess(name);
  } catch (error) {
    say(error.message);
  }
}

function given() {
  const graph = JSON.parse($("json").value || "{}");
  return graph.process ?? (graph.process_graph ? graph : { process_graph: graph });
}

function show() {
  try {
    builder.value = given();
    say("");
  } catch (error) {
    say(`This is no JSON: ${error.message}`);
  }
}

async function check() {
  const told = [];
  try {
    const answer = await ask("validation", {
      method: "POST", body: JSON.stringify(given()), headers: { "Content-Type": "application/json" },
    });
    told.push(...answer.errors.map((error) => `${error.code}: ${error.message}`));
    if (!told.length) told.push("The graph is valid.");
  } catch (error) {
    told.push(error.message);
  }
  $("problems").replaceChildren(...told.map((text) => {
    const entry = document.createElement("li");
    entry.textContent = text;
    return entry;
  }));
}

builder.addEventListener("input", ({ detail: [value] }) => {
  if (document.activeElement !== $("json")) {
    $("json").value = JSON.stringify({ process_graph: value?.process_graph ?? {} }, null, 2);
  }
});
builder.addEventListener("error", ({ detail: [error] }) => say(error.message ?? String(error)));
builder.addEventListener("showProcess", ({ detail: [id] }) => open(`processes#${id}`));
builder.addEventListener("editArguments", ({ detail }) => {
  const [parameters, values, title, editable, , callback] = detail;
  saving = callback;
  $("title").textContent = title;
  $("known").textContent = parameters.map((one) => one.name + (one.optional ? "" : " *")).join(", ");
  $("values").value = JSON.stringify(values, null, 2);
  $("values").readOnly = !editable;
  $("save").hidden = !editable;
  $("wrong").textContent = "";
  $("arguments").showModal();
});
$("save").addEventListener("click", (event) => {
  try {
    saving(JSON.parse($("values").value));
  } catch (error) {
    event.preventDefault();
    $("wrong").textContent = `This is no JSON: ${error.message}`;
  }
});
$("filter").addEventListener("input", () => listed($("filter").value));
$("show").addEventListener("click", show);
$("check").addEventListener("click", check);
$("copy").addEventListener("click", () => navigator.clipboard.writeText($("json").value));

try {
  [known, builder.collections] = await Promise.all([processes(), collections()]);
  builder.processes = known;
  // The component makes it reachable with the keyboard and does not say what it is.
  const blocks = (builder.shadowRoot ?? builder).querySelector(".model-builder");
  blocks?.setAttribute("role", "group");
  blocks?.setAttribute("aria-label", "Blocks of the graph");
  listed("");
  say("");
  if (location.hash.length > 1) {
    $("json").value = decodeURIComponent(location.hash.slice(1));
    show();
  }
  document.documentElement.dataset.loaded = known.length;
} catch (error) {
  say(error.message);
}
