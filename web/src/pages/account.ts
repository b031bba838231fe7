/** Who is logged in: the button in the header, and the dialog. */
import { h } from "../core/dom";
import { logIn, token, words } from "../http/server";

export interface Account {
  /** Whether this server has accounts. */
  readonly there: boolean;
  /** Asks somebody to log in. */
  ask: () => void;
}

/**
 * @param button of the header; `data-accounts` says whether there are any.
 * @param changed called when somebody has logged in or out.
 */
export function account(button: HTMLButtonElement, changed: () => void): Account {
  const there = Boolean(button.dataset.accounts);
  const refused = h("p", { class: "wrong", role: "alert" });
  const user = h("input", { id: "user", autocomplete: "username" });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password" });
  const given = h("input", { id: "token", type: "password", autocomplete: "off" });
  const show = () => {
    button.hidden = !there;
    button.textContent = token.get() ? "Log out" : "Log in";
  };
  const enter = async (event: Event) => {
    event.preventDefault();
    try {
      await logIn(user.value, password.value, given.value.trim());
      password.value = given.value = "";
      dialog.close();
      show();
      changed();
    } catch (error) {
      token.drop();
      refused.textContent = words(error);
    }
  };
  const dialog = h("dialog", { id: "log-in", "aria-labelledby": "log-in-title" }, h("form", { onsubmit: enter },
    h("h2", { id: "log-in-title" }, "Log in"),
    h("p", { class: "soft" }, "Until this tab is closed you see what you may see. Give name and password, or a token such as ",
      h("code", {}, "oidc/PROVIDER/TOKEN"), "."),
    h("label", {}, "Name ", user), h("label", {}, "Password ", password), h("label", {}, "or token ", given), refused,
    h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Log in"),
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  document.body.append(dialog);
  const ask = () => {
    refused.textContent = "";
    dialog.showModal();
  };
  button.addEventListener("click", () => {
    if (!token.get()) return ask();
    token.drop();
    show();
    changed();
  });
  show();
  return { there, ask };
}
