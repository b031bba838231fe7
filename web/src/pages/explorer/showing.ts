/** How pixels of a collection are shown: three bands as colours, one band, an index, an own formula. */
import { field } from "../../core/choice";
import type { Look } from "../../core/backend";
import { h } from "../../core/dom";
import { compile, FormulaWrong, functionsTold, type Band, type ProcessGraph } from "../formula";
import { collectionGraph, type Extent } from "../graphs";
import { combinationsOf, indicesOf, type Index } from "../indices";

/** What was chosen: enough to make the graph and the first look of a layer. */
export interface Manner {
  title: string;
  /** Null for bands as they are. */
  formula: string | null;
  look: Look;
}

const OWN = "formula", THREE = "three";

export class Showing {
  readonly element: HTMLElement;
  /** Told when something else is chosen, and it can be shown. */
  onchange: () => void = () => undefined;
  #bands: readonly Band[] = [];
  #indices: Index[] = [];
  readonly #way = h("select", { onchange: () => this.#chosen() });
  readonly #channels = ["Red", "Green", "Blue"].map((name) => ({ name, select: h("select", { "aria-label": `${name} channel`, onchange: () => this.onchange() }) }));
  readonly #formula = h("input", { type: "text", autocomplete: "off", "aria-describedby": "formula-told", placeholder: "(nir - red) / (nir + red)" });
  readonly #told = h("p", { class: "tz-note", id: "formula-told", "aria-live": "polite" });
  readonly #three = h("div", { class: "ex-channels" }, this.#channels.map(({ name, select }) => h("label", { class: "tz-field" }, h("span", {}, name), select)));
  readonly #own: HTMLElement;

  constructor() {
    this.#formula.addEventListener("input", () => this.#check());
    this.#formula.addEventListener("change", () => { if (this.#check()) this.onchange(); });
    const names = h("details", {}, h("summary", {}, "What a formula may use"),
      h("p", { class: "tz-note" }, "Bands by name or common name, numbers, + - * / ^, brackets, < <= > >= = !=, and, or, not, and ",
        functionsTold.join(", "), ". Odd names in double quotes."));
    this.#own = h("div", {}, field("Formula", this.#formula), this.#told, names);
    this.element = h("div", { class: "tz-fields" }, field("Show as", this.#way), this.#three, this.#own);
    this.offer([]);
  }

  /** Offers what the bands of a collection allow. */
  offer(bands: readonly Band[]): void {
    this.#bands = bands;
    this.#indices = indicesOf(bands);
    const option = (value: string, name: string) => h("option", { value }, name);
    const groups: [string, HTMLOptionElement[]][] = [
      ["Colours", [...combinationsOf(bands).map((one) => option(`combination:${one.id}`, one.title)), ...(bands.length > 2 ? [option(THREE, "Three bands of my own")] : [])]],
      ["Indices", [...this.#indices.map((one) => option(`index:${one.id}`, one.title)), ...(bands.length ? [option(OWN, "My own formula")] : [])]],
      ["One band", bands.map((one) => option(`band:${one.name}`, one.common && one.common !== one.name ? `${one.name} (${one.common})` : one.name))],
    ];
    const before = this.#way.value;
    this.#way.replaceChildren(...groups.filter(([, options]) => options.length).map(([label, options]) => h("optgroup", { label }, options)));
    if (!bands.length) this.#way.append(option("as-is", "As it is"));
    for (const [i, { select }] of this.#channels.entries()) {
      select.replaceChildren(...bands.map((one) => option(one.name, one.name)));
      select.value = combinationsOf(bands)[0]?.bands[i] ?? bands[Math.min(i, bands.length - 1)]?.name ?? "";
    }
    if ([...this.#way.options].some((one) => one.value === before)) this.#way.value = before;
    this.#arrange();
  }

  /** @throws FormulaWrong the own formula cannot be computed. */
  get manner(): Manner {
    const [kind, name = ""] = this.#way.value.split(":");
    const stretch = { kind: "percentile", low: 2, high: 98 } as const;
    if (kind === "combination") {
      const found = combinationsOf(this.#bands).find((one) => one.id === name)!;
      return { title: found.title.toLowerCase(), formula: null, look: { bands: found.bands, stretch } };
    }
    if (kind === THREE) {
      const bands = this.#channels.map(({ select }) => select.value);
      return { title: bands.join(", "), formula: null, look: { bands, stretch } };
    }
    if (kind === "index") {
      const { title, formula, colors, range: [low, high] } = this.#indices.find((one) => one.id === name)!;
      return { title: title.split(",")[0]!, formula, look: { colors, stretch: { kind: "range", low, high } } };
    }
    if (kind === OWN) {
      const formula = this.#formula.value.trim();
      compile(formula, this.#bands);
      return { title: formula, formula, look: { colors: "viridis", stretch } };
    }
    return kind === "band" ? { title: name, formula: null, look: { bands: [name], stretch } } : { title: "", formula: null, look: {} };
  }

  /** The graph of pixels of a collection, shown in the chosen manner. */
  graph(collection: string, extent: Extent, cloud?: number): ProcessGraph {
    return collectionGraph(collection, extent, this.#bands, this.manner.formula ?? undefined, cloud);
  }

  /** Shows what is wrong, as it was thrown by `manner`. */
  wrong(error: FormulaWrong): void {
    this.#formula.setAttribute("aria-invalid", "true");
    this.#told.classList.add("tz-error");
    this.#told.textContent = error.message;
    this.#formula.focus();
    this.#formula.setSelectionRange(error.position, this.#formula.value.length);
  }

  #chosen(): void {
    this.#arrange();
    const own = this.#way.value === OWN;
    if (own) this.#formula.focus();
    if (!own || this.#formula.value) this.onchange();
  }

  #arrange(): void {
    this.#three.hidden = this.#way.value !== THREE;
    this.#own.hidden = this.#way.value !== OWN;
    if (!this.#formula.value && this.#indices[0]) this.#formula.value = this.#indices[0].formula;
    this.#check();
  }

  #check(): boolean {
    this.#told.classList.remove("tz-error");
    this.#formula.removeAttribute("aria-invalid");
    this.#told.textContent = "";
    if (!this.#formula.value.trim() || !this.#bands.length) return false;
    try {
      const { bands } = compile(this.#formula.value, this.#bands);
      this.#told.textContent = `Reads ${bands.join(", ")}.`;
      return true;
    } catch (error) {
      if (!(error instanceof FormulaWrong)) throw error;
      this.#told.classList.add("tz-error");
      this.#told.textContent = error.message;
      this.#formula.setAttribute("aria-invalid", "true");
      return false;
    }
  }
}
