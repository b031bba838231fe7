/** Finds scenes of a collection: place, dates, cloud, whatever its items can be filtered by. */
import { button, field } from "../../core/choice";
import { fill, h } from "../../core/dom";
import { Task } from "../../core/task";
import { flat, footprint, outlines, type Box } from "../bounds";
import { count, listed, moment, object, plural, shown, text } from "../content";
import { FormulaWrong } from "../formula";
import { dayAfter, momentOf } from "../graphs";
import { hasFiles, preview, whenSeen } from "../preview";
import { ask, at, onward, withQuery, type Document } from "../../http/server";
import { collection as whole, queryables, type Collection, type Queryable } from "./collections";
import { CLOUD, ConditionWrong, OPERATORS, query, type Condition, type Operator } from "./conditions";
import { Features } from "./features";
import { Outlines } from "./outlines";
import { Showing } from "./showing";
import { shownBox, type Stage, type Wish } from "./stage";

const PAGE = 25;

export class Find {
  readonly element: HTMLElement;
  readonly #collection = h("select", { onchange: () => void this.choose(this.#collection.value) });
  readonly #from = h("input", { type: "date" });
  readonly #to = h("input", { type: "date" });
  readonly #place = h("select", {}, ["Anywhere", "On the map", "In what I drew"].map((name, i) => h("option", { value: ["any", "map", "drawn"][i] }, name)));
  readonly #cloud = h("input", { type: "number", min: 0, max: 100, step: 1, placeholder: "any" });
  readonly #cloudRow = field("Cloud at most, %", this.#cloud);
  readonly #conditions = h("div", { class: "ex-conditions" });
  readonly #add = button("Add a condition", () => this.#condition());
  readonly #task = new Task();
  readonly #told = h("p", { class: "tz-note", role: "status" });
  readonly #list = h("ol", { class: "ex-scenes", "aria-label": "Scenes" });
  readonly #more = button("More scenes", () => void this.#next());
  readonly #all = button("Show all these dates", () => void this.#series());
  readonly #showing = new Showing();
  readonly #outlines: Outlines;
  readonly #features: Features;
  #collections: Collection[] = [];
  #chosen: Collection | null = null;
  #known: Queryable[] = [];
  #scenes: Document[] = [];
  #onward: URL | null = null;
  /** Key of the layer that "Show" replaces, and what it shows. */
  #shown: { key: string; wish: () => Wish } | null = null;

  constructor(private readonly stage: Stage) {
    this.#outlines = new Outlines(stage.view);
    this.#features = new Features(stage);
    this.#outlines.onhover = (key) => this.#mark(key);
    this.#outlines.onpick = (key) => this.#list.children[key]?.querySelector("button")?.focus();
    this.#showing.onchange = () => void this.#again();
    this.#more.hidden = this.#all.hidden = this.#cloudRow.hidden = this.#add.hidden = true;
    const form = h("form", { class: "tz-fields", "aria-label": "Find scenes", onsubmit: (event: Event) => {
      event.preventDefault();
      void this.search();
    } },
      field("Collection", this.#collection),
      h("div", { class: "ex-pair" }, field("From", this.#from), field("To, included", this.#to)),
      h("div", { class: "ex-pair" }, field("Place", this.#place), this.#cloudRow),
      this.#conditions,
      h("div", { class: "tz-row" }, h("button", { type: "submit", class: "tz-button tz-main" }, "Find scenes"), this.#add));
    this.element = h("div", { class: "ex-panel" }, form, this.#showing.element, this.#task.element, this.#told,
      h("div", { class: "tz-row" }, this.#all), this.#list, this.#more);
    this.element.prepend(this.#features.element);
  }

  /** Whether the footprints of what was found are on the map. */
  set outlined(seen: boolean) {
    this.#outlines.visible = seen;
  }

  /** Offers the collections that there are: of scenes, and of geometries. */
  offer(found: Collection[], geometries: Collection[]): void {
    this.#features.offer(geometries);
    this.#collections = found;
    const before = this.#chosen?.id;
    this.#collection.replaceChildren(...found.map((one) => h("option", { value: one.id }, one.title)));
    if (!found.length) {
      this.#told.textContent = "There are no collections yet, or none for everybody: log in, or make one with terrazzo ingest.";
      return;
    }
    this.#collection.value = found.some((one) => one.id === before) ? before! : found[0]!.id;
  }

  /** Looks for scenes of the collection that is chosen in the list. */
  async look(): Promise<void> {
    await this.choose(this.#collection.value);
  }

  /** Chooses a collection and looks for its scenes. */
  async choose(id: string): Promise<void> {
    const found = this.#collections.find((one) => one.id === id);
    if (!found) return;
    this.#collection.value = id;
    this.#chosen = found;
    this.#shown = null;
    const [first, last] = found.interval.map((one) => one.slice(0, 10));
    for (const input of [this.#from, this.#to]) Object.assign(input, { min: first, max: last });
    this.#showing.offer(found.bands);
    this.#conditions.replaceChildren();
    await this.#task.run("Looking what there is", async (signal) => {
      const [known, told] = await Promise.all([queryables(id), found.bands.length ? found : whole(id)]);
      signal.throwIfAborted();
      return [known, told] as const;
    }, ([known, told]) => {
      this.#known = known;
      this.#chosen = told;
      this.#showing.offer(told.bands);
      const cloudy = known.some((one) => one.name === CLOUD);
      this.#cloudRow.hidden = !cloudy;
      if (!cloudy) this.#cloud.value = "";
      this.#add.hidden = !known.length;
    });
    await this.search();
  }

  /** Shows the newest scene of a collection, or its features. */
  async showNewest(id: string): Promise<void> {
    if (await this.#features.show(id)) return;
    await this.choose(id);
    if (this.#scenes.length) await this.#show(0, "show");
  }

  /** Shows one item by its id. */
  async showItem(id: string, item: string): Promise<void> {
    await this.choose(id);
    let there = false;
    await this.#task.run("Looking for it", (signal) => ask(at("collections", id, "items", item), signal), (found) => {
      this.#scenes = [found, ...this.#scenes.filter((one) => one.id !== item)];
      this.#fill();
      there = true;
    });
    if (there) await this.#show(0, "show");
  }

  /** Looks for scenes as the form says. */
  async search(): Promise<void> {
    if (!this.#chosen) return;
    this.#scenes = [];
    try {
      const [from, to] = [this.#from.value, this.#to.value];
      if (from && to && from > to) throw new ConditionWrong(`From (${from}) is after To (${to}).`);
      const wanted = query({
        collection: this.#chosen.id, from, to, box: this.#box(),
        cloud: this.#cloud.value === "" ? null : this.#cloud.valueAsNumber, conditions: this.#given(),
      }, this.#known, PAGE);
      await this.#load(withQuery(at("search"), wanted));
    } catch (error) {
      if (!(error instanceof ConditionWrong)) throw error;
      this.#task.fail(error);
    }
    if (this.#outlines.box && this.#place.value === "any") this.#lookAt(this.#outlines.box);
  }

  async #next(): Promise<void> {
    if (this.#onward) await this.#load(this.#onward);
  }

  async #load(address: URL): Promise<void> {
    await this.#task.run("Looking for scenes", (signal) => ask(address, signal), (found) => {
      this.#scenes.push(...listed(found.features).map(object));
      this.#onward = onward(address, found);
      const total = found.numberMatched;
      const told = plural(this.#scenes.length, "scene");
      this.#told.textContent = !this.#scenes.length ? "No scene is like that. Ask for less: other dates, more cloud, another place."
        : typeof total === "number" && total > this.#scenes.length ? `${told} of ${count(total)}` : this.#onward ? `${told}, and more` : told;
      this.#fill();
    });
  }

  #fill(): void {
    fill(this.#list, this.#scenes.map((one, key) => this.#row(one, key)));
    this.#outlines.show(this.#scenes);
    this.#more.hidden = !this.#onward;
    this.#all.hidden = this.#scenes.length < 2;
  }

  #row(item: Document, key: number): HTMLLIElement {
    const properties = object(item.properties), id = text(item.id);
    const when = moment(timeOf(item));
    const cloud = properties[CLOUD];
    const small = h("div", { class: "ex-thumb", "aria-hidden": "true" });
    if (hasFiles(item)) whenSeen(small, () => preview(text(item.collection), id, "", 128));
    const act = (name: string, how: "show" | "add" | "compare") => {
      const made = button(name, () => void this.#show(key, how));
      made.setAttribute("aria-label", `${name} ${when}`);
      return made;
    };
    return h("li", { onpointerenter: () => this.#mark(key), onpointerleave: () => this.#mark(null), onfocusin: () => this.#mark(key) },
      small, h("div", {},
        h("p", { class: "ex-when" }, when), h("p", { class: "tz-note ex-id", title: id }, id),
        cloud === undefined ? null : h("p", { class: "tz-note" }, `${shown(cloud)} % cloud`),
        h("div", { class: "tz-row" }, act("Show", "show"), act("Add", "add"), act("Compare", "compare"))));
  }

  #mark(key: number | null): void {
    this.#outlines.mark(key, "hover");
    [...this.#list.children].forEach((row, i) => row.classList.toggle("hover", i === key));
  }

  async #show(key: number, how: "show" | "add" | "compare"): Promise<void> {
    const item = this.#scenes[key]!, chosen = this.#chosen!;
    const wish = (): Wish => {
      const { manner } = this.#showing;
      const name = [moment(timeOf(item)), manner.title].filter(Boolean).join(", ");
      const extent = { box: footprint(item)?.box ?? null, time: spanOf(item) };
      return { name, source: { title: `${chosen.title}, ${name}`, process_graph: this.#showing.graph(chosen.id, extent) }, look: manner.look, place: flat(item.bbox) ?? extent.box };
    };
    const before = this.#shown?.key ?? this.stage.first;
    const wanted = how === "compare" && before ? () => this.#alike(wish(), before) : wish;
    await this.#open(wanted, how === "show" ? before : null, (made) => {
      if (how === "compare" && before && this.stage.view.layer(before)) this.stage.compare(before, made);
    });
    this.#outlines.mark(key, "chosen");
  }

  /** The same colours for the same values as in a layer of the same bands, so that both can be compared. */
  #alike(wish: Wish, key: string): Wish {
    const other = this.stage.view.rasters.find((one) => one.key === key)?.look;
    const per_band = other?.stretch?.per_band;
    if (!other || !per_band || String(other.bands) !== String(wish.look.bands) || String(other.colors) !== String(wish.look.colors)) return wish;
    return { ...wish, look: { ...wish.look, stretch: { ...other.stretch, kind: "range", per_band } } };
  }

  /** One layer of all dates that were asked for. */
  async #series(): Promise<void> {
    const chosen = this.#chosen!;
    const wish = (): Wish => {
      const { manner } = this.#showing;
      const [from, to] = [this.#from.value || null, this.#to.value ? dayAfter(this.#to.value) : null];
      const extent = { box: this.#box(), time: from || to ? [from, to] as const : null };
      const cloud = this.#cloud.value === "" ? undefined : this.#cloud.valueAsNumber;
      const name = [chosen.title, manner.title].filter(Boolean).join(", ");
      return { name, source: { title: name, process_graph: this.#showing.graph(chosen.id, extent, cloud) }, look: manner.look, place: extent.box ?? chosen.box };
    };
    await this.#open(wish, this.#shown?.key ?? this.stage.first, () => undefined);
  }

  /** The same scene as before, shown in another manner. */
  async #again(): Promise<void> {
    const { key, wish } = this.#shown ?? {};
    if (key && wish && this.stage.view.layer(key)) await this.#open(wish, key, () => undefined);
  }

  async #open(wish: () => Wish, instead: string | null, done: (key: string) => void): Promise<void> {
    try {
      const wanted = wish();
      await this.#task.run(`Opening ${wanted.name}`, () => this.stage.open(wanted, instead), (layer) => {
        this.#shown = { key: layer.key, wish };
        done(layer.key);
      });
    } catch (error) {
      if (!(error instanceof FormulaWrong)) throw error;
      this.#showing.wrong(error);
    }
  }

  #lookAt(box: Box): void {
    const seen = shownBox(this.stage.view);
    const apart = box[0] > seen[2] || box[2] < seen[0] || box[1] > seen[3] || box[3] < seen[1];
    if (apart && !this.stage.view.layers.length) this.stage.view.fit(box);
  }

  /** @throws ConditionWrong nothing was drawn. */
  #box(): Box | null {
    if (this.#place.value === "map") return shownBox(this.stage.view);
    if (this.#place.value !== "drawn") return null;
    const drawn = this.stage.drawn();
    const points = drawn ? listed(drawn.features).flatMap((one) => outlines(object(one).geometry)).flat() : [];
    if (!points.length) throw new ConditionWrong("Nothing is drawn on the map yet. Draw a polygon or a box first, or look on the map.");
    const lons = points.map((point) => point[0]!), lats = points.map((point) => point[1]!);
    return [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)];
  }

  #given(): Condition[] {
    return [...this.#conditions.children].map((row) => {
      const [property, operator, value] = [...row.querySelectorAll<HTMLSelectElement | HTMLInputElement>("select, input")].map((one) => one.value);
      return { property: property!, operator: operator as Operator, value: value! };
    });
  }

  #condition(): void {
    const property = h("select", { "aria-label": "Property", onchange: () => choices() }, this.#known.map((one) => h("option", { value: one.name }, one.title)));
    const operator = h("select", { "aria-label": "Comparison" }, OPERATORS.map((one) => h("option", { value: one }, one)));
    const list = h("datalist", { id: `choices-${this.#conditions.childElementCount}` });
    const value = h("input", { "aria-label": "Value", list: list.id });
    const choices = () => fill(list, this.#known.find((one) => one.name === property.value)?.choices.map((one) => h("option", { value: one })) ?? []);
    const gone = button("×", () => row.remove());
    gone.setAttribute("aria-label", "Take this condition away");
    const row = h("div", { class: "ex-condition", role: "group", "aria-label": "Condition" }, property, operator, value, list, gone);
    choices();
    this.#conditions.append(row);
    property.focus();
  }
}

const timeOf = (item: Document): string => text(object(item.properties).datetime ?? object(item.properties).start_datetime);

/** When an item was taken, half-open. */
function spanOf(item: Document): [string, string] {
  const { datetime, start_datetime: start, end_datetime: end } = object(item.properties);
  if (text(datetime)) return momentOf(text(datetime));
  return [text(start), momentOf(text(end))[1]];
}
