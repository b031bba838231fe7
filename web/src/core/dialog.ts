/** A window over the page, with a title and a way to close it. */

import { button } from "./choice";
import { type Child, h } from "./dom";

let dialogs = 0;

/** Make a dialog; `closed` is called however it is closed. */
export function dialog(
  title: string,
  body: readonly Child[],
  closed: () => void,
): HTMLDialogElement {
  const id = `tz-dialog-${(dialogs += 1)}`;
  const made: HTMLDialogElement = h(
    "dialog",
    {
      class: "tz-dialog",
      "aria-labelledby": id,
      onclose: closed,
      onkeydown: (event: KeyboardEvent) => event.stopPropagation(),
    },
    h(
      "header",
      { class: "tz-dialog-head" },
      h("h2", { id }, title),
      button("Close", () => made.close()),
    ),
    h("div", { class: "tz-dialog-body" }, [...body]),
  );
  return made;
}
