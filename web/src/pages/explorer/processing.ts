/** Processing that was saved: services and user-defined processes, their parameters as a form. */
import { button, field } from "../../core/choice";
import type { JsonObject } from "../../core/backend";
import { fill, h } from "../../core/dom";
import { Task } from "../../core/task";
import { listed, object, text } from "../content";
import { callGraph } from "../graphs";
import { all, ask, at, Refused, send, token, type Document } from "../../http/server";
import { AnswerWrong, parametersOf, valueOf, type Parameter } from "./parameters";
import { shownBox, type Stage } from "./stage";

export interface Service { id: string; title: string }

/** The services that everybody sees. */
export async function services(): Promise<Service[]> {
  return (await ask<{ maps: Service[] }>(at("maps"))).maps;
}

export class Processing {
  readonly element: HTMLElement;
  readonly #services = h("ul", { class: "tz-list" });
  readonly #processes = h("select", { onchange: () => void this.#chosen() });
  readonly #form = h("form", { class: "tz-fields", "aria-label": "Parameters" });
  readonly #task = new Task();
  readonly #note = h("p", { class: "tz-note" });
  readonly #saved = h("select", {});
  readonly #name = h("input", { type: "text", maxLength: 100, placeholder: "my_ndvi", autocomplete: "off" });

  /** @param collectionIds what parameters that name a collection offer. */
  constructor(private readonly stage: Stage, private readonly collectionIds: () => string[]) {
    const save = h("form", { class: "tz-fields", "aria-label": "Save processing", onsubmit: (event: Event) => {
      event.preventDefault();
      void this.#save();
    } }, field("Processing of the layer", this.#saved), field("Save under the name", this.#name),
      h("div", { class: "tz-row" }, h("button", { type: "submit", class: "tz-button" }, "Save")));
    this.element = h("div", { class: "ex-panel" },
      h("h3", {}, "Services"), this.#services,
      h("h3", {}, "My saved processing"), field("Process", this.#processes), this.#note, this.#form, this.#task.element,
      h("details", { ontoggle: () => this.#layers() }, h("summary", {}, "Save the processing of a layer"), save));
    stage.view.onChange((what) => { if (what === "layers") this.#layers(); });
  }

  /** Looks again what there is: somebody has logged in or out, or saved something. */
  async refresh(): Promise<void> {
    await this.#task.run("Looking what is saved", async () => Promise.all([services(), this.#mine()]), ([found, mine]) => {
      fill(this.#services, found.length ? found.map((one) => this.#service(one)) : h("li", { class: "tz-note" }, "There are none yet."));
      fill(this.#processes, mine.map((one) => h("option", { value: text(one.id) }, text(one.id))));
      this.#processes.disabled = !mine.length;
      this.#note.textContent = mine.length ? "" : token.get() || this.#open ? "You have saved none yet." : "Log in to see what you have saved.";
    });
    await this.#chosen();
  }

  #open = true;

  async #mine(): Promise<Document[]> {
    try {
      const found = await all(at("process_graphs"), "processes");
      this.#open = true;
      return found;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      this.#open = false;
      return [];
    }
  }

  #service(one: Service): HTMLLIElement {
    const show = button("Show", () => void this.#task.run(`Opening ${one.title}`,
      () => this.stage.open({ name: one.title, source: { service: { id: one.id }, title: one.title }, look: {} }), () => undefined));
    show.setAttribute("aria-label", `Show ${one.title}`);
    return h("li", {}, h("span", {}, one.title), show);
  }

  async #chosen(): Promise<void> {
    const id = this.#processes.value;
    if (!id) return this.#form.replaceChildren();
    await this.#task.run("Reading its parameters", (signal) => ask(at("process_graphs", id), signal), (told) => this.#ask(id, told));
  }

  #ask(id: string, told: Document): void {
    const parameters = parametersOf(told);
    const inputs = parameters.map((one) => this.#input(one));
    const submit = (event: Event) => {
      event.preventDefault();
      try {
        const given: JsonObject = {};
        parameters.forEach((one, i) => {
          const value = valueOf(one, inputs[i]!.value);
          if (value !== undefined) given[one.name] = value;
        });
        const graph = callGraph(id, given);
        void this.#task.run(`Opening ${id}`, () => this.stage.open({ name: id, source: { process_graph: graph, title: id }, look: {} }), () => undefined);
      } catch (error) {
        if (!(error instanceof AnswerWrong)) throw error;
        this.#task.fail(error);
        inputs[parameters.findIndex((one) => one.name === error.parameter)]?.focus();
      }
    };
    this.#form.onsubmit = submit;
    fill(this.#form, told.description ? h("p", { class: "tz-note" }, text(told.description)) : null,
      parameters.map((one, i) => this.#row(one, inputs[i]!)),
      h("div", { class: "tz-row" }, h("button", { type: "submit", class: "tz-button tz-main" }, "Show on the map")));
  }

  #row(one: Parameter, input: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement): HTMLElement {
    const offer = (name: string, value: () => string) => {
      const made = button(name, () => { input.value = value(); });
      made.classList.add("tz-small");
      made.setAttribute("aria-label", `${name} for ${one.name}`);
      return made;
    };
    const boxed = () => shownBox(this.stage.view).map((side) => +side.toFixed(5)).join(",");
    const drawn = () => JSON.stringify(listed(this.stage.drawn()?.features).length === 1 ? object(listed(this.stage.drawn()?.features)[0]) : (this.stage.drawn() ?? {}));
    return h("div", {}, field(`${one.name}${one.optional ? "" : " (needed)"}`, input),
      one.field === "box" ? offer("What the map shows", boxed) : null,
      one.field === "geometry" ? offer("What I drew", drawn) : null,
      one.about ? h("p", { class: "tz-note" }, one.about) : null);
  }

  #input(one: Parameter): HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement {
    const option = (value: string) => h("option", { value, selected: value === one.preset }, value || "as it is by default");
    const empty = one.optional && !one.preset ? [""] : [];
    switch (one.field) {
      case "choice": return h("select", {}, [...empty, ...one.choices].map(option));
      case "yes-no": return h("select", {}, [...empty, "true", "false"].map(option));
      case "collection": return h("select", {}, [...empty, ...this.collectionIds()].map(option));
      case "number":
      case "integer":
        return h("input", { type: "number", step: one.field === "integer" ? "1" : "any", min: one.least ?? "", max: one.most ?? "", value: one.preset });
      case "date": return h("input", { type: "date", value: one.preset.slice(0, 10) });
      case "dates": return h("input", { type: "text", value: one.preset, placeholder: "2020-01-01/2021-01-01" });
      case "box": return h("input", { type: "text", value: one.preset, placeholder: "west,south,east,north" });
      case "geometry":
      case "json": return h("textarea", { rows: 3, value: one.preset });
      default: return h("input", { type: "text", value: one.preset });
    }
  }

  #layers(): void {
    const found = this.stage.view.rasters.filter((one) => one.source.process_graph);
    fill(this.#saved, [...found].reverse().map((one) => h("option", { value: one.key }, one.name)));
  }

  async #save(): Promise<void> {
    const layer = this.stage.view.rasters.find((one) => one.key === this.#saved.value);
    const name = this.#name.value.trim();
    if (!layer) return this.#task.fail(new Error("No layer of this map has processing of its own. Show a scene or an index first."));
    if (!/^\w+$/.test(name)) return this.#task.fail(new Error("A name has letters, digits and _ only, such as my_ndvi."));
    await this.#task.run("Saving", () => send("PUT", at("process_graphs", name), { process_graph: layer.source.process_graph, summary: layer.name }),
      () => void this.refresh());
  }
}
