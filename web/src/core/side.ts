/** Panels beside the map: a rail of buttons, and the one panel that is open. */

import { h } from "./dom";
import { type IconName, iconButton } from "./icons";

export interface Panel {
  /** Names it in code and in the state. */
  name: string;
  title: string;
  icon: IconName;
  element: HTMLElement;
  /** Called when it is opened and when it is closed. */
  opened?: () => void;
  closed?: () => void;
}

let count = 0;

export class Side {
  readonly rail = h("nav", { class: "tz-rail", "aria-label": "Panels" });
  readonly element: HTMLElement;
  /** Called with the name of the panel that is open now, or null. */
  onchange: (open: string | null) => void = () => undefined;
  readonly #heading: HTMLHeadingElement;
  readonly #panels = new Map<string, { panel: Panel; button: HTMLButtonElement }>();
  #open: string | null = null;

  constructor() {
    count += 1;
    const id = `tz-side-${count}`;
    this.#heading = h("h2", { id: `${id}-title` });
    this.element = h(
      "section", { class: "tz-side", id, hidden: true, "aria-labelledby": `${id}-title` },
      h("header", {}, this.#heading, iconButton("close", "Close the panel", () => this.#leave())),
    );
  }

  /** Add a panel; its button comes at `at`, or last. */
  add(panel: Panel, at = this.#panels.size): void {
    const button = iconButton(panel.icon, panel.title, () => this.toggle(panel.name));
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", this.element.id);
    this.rail.insertBefore(button, this.rail.children[at] ?? null);
    panel.element.classList.add("tz-panel");
    panel.element.hidden = true;
    this.element.append(panel.element);
    this.#panels.set(panel.name, { panel, button });
  }

  remove(name: string): void {
    if (this.#open === name) this.close();
    const found = this.#panels.get(name);
    found?.button.remove();
    found?.panel.element.remove();
    this.#panels.delete(name);
  }

  /** Name of the panel that is open; null when none is. */
  get current(): string | null {
    return this.#open;
  }

  open(name: string): void {
    const found = this.#panels.get(name);
    if (!found || this.#open === name) return;
    this.#shut();
    this.#open = name;
    this.#heading.textContent = found.panel.title;
    this.element.hidden = false;
    found.panel.element.hidden = false;
    found.button.setAttribute("aria-expanded", "true");
    found.panel.opened?.();
    this.onchange(name);
  }

  close(): void {
    if (this.#open === null) return;
    this.#shut();
    this.element.hidden = true;
    this.onchange(null);
  }

  toggle(name: string): void {
    if (this.#open === name) this.close();
    else this.open(name);
  }

  #leave(): void {
    const button = this.#panels.get(this.#open ?? "")?.button;
    this.close();
    button?.focus();
  }

  #shut(): void {
    const found = this.#panels.get(this.#open ?? "");
    this.#open = null;
    if (!found) return;
    found.panel.element.hidden = true;
    found.button.setAttribute("aria-expanded", "false");
    found.panel.closed?.();
  }
}
