/** Whether the page around a notebook is light or dark. */

/** Keep `data-theme` of an element as the page is; what is returned ends that. */
export function followTheme(element: HTMLElement): () => void {
  const set = () => {
    const theme = themeOf(document.body);
    if (theme === null) delete element.dataset["theme"];
    else element.dataset["theme"] = theme;
  };
  set();
  const observer = new MutationObserver(set);
  observer.observe(document.body, {
    attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-vscode-theme-kind"],
  });
  return () => observer.disconnect();
}

/** Null where nobody says: the system's own is followed then. */
function themeOf(body: HTMLElement): "light" | "dark" | null {
  const { jpThemeLight } = body.dataset;
  if (jpThemeLight !== undefined) return jpThemeLight === "false" ? "dark" : "light";
  const editor = body.dataset["vscodeThemeKind"] ?? "";
  if (editor) return editor.includes("light") ? "light" : "dark";
  if (body.classList.contains("theme-dark")) return "dark";
  return body.classList.contains("theme-light") ? "light" : null;
}
