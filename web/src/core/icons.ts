/** Pictures on buttons: lines on a field of 24. */

const PATHS = {
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  layers: "M12 3l9 5-9 5-9-5zM3 12.5l9 5 9-5M3 16.5l9 5 9-5",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  find: "M3 9V4h5M21 9V4h-5M3 15v5h5M21 15v5h-5M9 12h6M12 9v6",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v6M14 11v6",
  play: "M7 4l13 8-13 8z",
  pause: "M8 5v14M16 5v14",
  earlier: "M15 5l-7 7 7 7",
  later: "M9 5l7 7-7 7",
  swipe: "M8 8l-4 4 4 4M16 8l4 4-4 4M4 12h16",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  lens: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L21 21M8 10.5h5M10.5 8v5",
  map: "M9 4L3 6.5v14L9 18l6 2.5 6-2.5V4l-6 2.5zM9 4v14M15 6.5v14",
  inspect: "M5 3l6 16 2.5-6.5L20 10z",
  draw: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  chart: "M4 4v16h16M7 15l4-5 3 3 5-7",
  export: "M12 15V4M7 9l5-5 5 5M4 15v5h16v-5",
  search: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L21 21",
  user: "M12 4a4 4 0 100 8 4 4 0 000-8zM4 21c1-5 4-7 8-7s7 2 8 7",
  jobs: "M4 6h16M4 12h16M4 18h10",
  link: "M10 14a4 4 0 006 0l3-3a4 4 0 00-6-6l-1 1M14 10a4 4 0 00-6 0l-3 3a4 4 0 006 6l1-1",
  process: "M4 5h6v5H4zM14 14h6v5h-6zM7 10v6.5h7M10 7.5h7V14",
  home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
} as const;

export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with a picture on it; `label` is what it is called, and shown when pointed at. */
export function iconButton(
  name: IconName, label: string, press: (event: MouseEvent) => void,
): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tz-icon";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.append(icon(name));
  button.addEventListener("click", press);
  return button;
}
