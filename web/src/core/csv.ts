/** One cell: what is missing is empty. */
export type Cell = string | number | boolean | null | undefined;

/** RFC 4180 text with a header line; a spreadsheet never takes a cell for a formula. */
export function csv(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function cell(value: Cell): string {
  if (value === null || value === undefined || (typeof value === "number" && Number.isNaN(value))) {
    return "";
  }
  if (typeof value !== "string") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
