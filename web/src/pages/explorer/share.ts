/** The dialog that gives the address of what is shown. */
import { button } from "../../core/choice";
import { dialog } from "../../core/dialog";
import { h } from "../../core/dom";

export function share(opener: HTMLButtonElement, address: () => Promise<string>): void {
  const told = h("p", { class: "tz-note", role: "status" });
  const given = h("textarea", { rows: 4, readOnly: true, "aria-label": "Address" });
  const copy = button("Copy", () => {
    given.select();
    navigator.clipboard.writeText(given.value).then(
      () => { told.textContent = "Copied."; },
      // Pages that came without encryption may not.
      () => { told.textContent = "Selected: copy it with the keyboard."; });
  });
  copy.classList.add("tz-main");
  const made = dialog("Share this map", [
    h("p", {}, "Whoever opens this address sees the same layers, place, dates and comparison, as far as they may see them."),
    given, h("div", { class: "tz-row" }, copy, told),
  ], () => undefined);
  const place = h("div", { class: "tz-screen ex-share" }, made);
  document.body.append(place);
  opener.addEventListener("click", () => {
    void address().then((href) => {
      told.textContent = "";
      given.value = href;
      made.showModal();
      given.select();
    });
  });
}
