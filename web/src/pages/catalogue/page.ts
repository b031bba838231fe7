/** Which page this is, as the server wrote it into the document. */
const { kind = "", collection = "", item = "" } = document.documentElement.dataset;

export const here = { kind, collection, item };
export const accounts = (): boolean => Boolean(document.getElementById("account")?.dataset.accounts);

/** A page that is ready to be shown. */
export interface Content {
  title: string;
  content: (Node | string)[];
}
