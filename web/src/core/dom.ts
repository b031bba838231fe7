/** What `h` understands: properties, `on…` handlers, and attributes such as `class` and `aria-…`. */
export type Attributes = Record<string, unknown>;
export type Child = Node | string | number | null | undefined | false;

/** An element with attributes and children; text is always text, never markup. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Child | Child[])[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (name in element && !name.includes("-") && name !== "list" && name !== "role") {
      Reflect.set(element, name, value);
    } else {
      element.setAttribute(
        name === "className" ? "class" : name,
        value === true ? "" : String(value),
      );
    }
  }
  element.append(...flat(children));
  return element;
}

/** Puts other children into an element. */
export function fill(element: Element, ...children: (Child | Child[])[]): void {
  element.replaceChildren(...flat(children));
}

function flat(children: (Child | Child[])[]): (Node | string)[] {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
