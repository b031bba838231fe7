/** Collections of geometries: parcels, regions, samples, put on the map beside what is computed. */
import { button, field } from "../../core/choice";
import { fill, h } from "../../core/dom";
import { VECTOR_COLOR } from "../../core/layer";
import { Task } from "../../core/task";
import { plural } from "../content";
import type { Collection } from "./collections";
import type { Stage } from "./stage";

export class Features {
  readonly element: HTMLElement;
  readonly #choice = h("select");
  readonly #color = h("input", { type: "color", value: VECTOR_COLOR });
  readonly #task = new Task();
  readonly #count = h("summary");
  #collections: Collection[] = [];

  constructor(private readonly stage: Stage) {
    this.element = h("details", { class: "ex-features", hidden: true }, this.#count,
      h("div", { class: "tz-fields" }, field("Features of", this.#choice), field("Colour", this.#color),
        h("div", { class: "tz-row" }, button("Show features", () => void this.show(this.#choice.value))), this.#task.element));
  }

  /** Offers the collections that there are. */
  offer(found: Collection[]): void {
    this.#collections = found;
    this.element.hidden = !found.length;
    this.#count.textContent = `Parcels, regions, samples: ${plural(found.length, "collection")}`;
    fill(this.#choice, found.map((one) => h("option", { value: one.id }, one.title)));
  }

  /** Puts a collection on the map; tells whether it is one of these. */
  async show(id: string): Promise<boolean> {
    const chosen = this.#collections.find((one) => one.id === id);
    if (chosen) await this.#task.run(`Opening ${chosen.title}`, () => this.stage.features(chosen, this.#color.value), () => undefined);
    return chosen !== undefined;
  }
}
