// What the pages ask the server for: the documents that programs read at the same addresses.
const { root } = document.documentElement.dataset;
const TOKEN = "terrazzo-token";

class Refused extends Error {
  constructor(status, { code = "", message = "" }) {
    super(message || `The server answered ${status}.`);
    Object.assign(this, { status, code });
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  drop: () => sessionStorage.removeItem(TOKEN),
};

// The address of a path of this server; relative, because a proxy may put it under another path.
export function at(...path) {
  return new URL(root + path.map(encodeURIComponent).join("/"), location.href);
}

export async function fetched(address, options = {}) {
  const held = token.get();
  const headers = { ...(held && { Authorization: `Bearer ${held}` }), ...options.headers };
  // Not kept: at the same address the browser keeps the page.
  const answer = await fetch(address, { cache: "no-store", ...options, headers });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (said.code === "TokenInvalid") token.drop();
  throw new Refused(answer.status, said);
}

export async function ask(address) {
  return (await fetched(address, { headers: { Accept: "application/json" } })).json();
}

// The address behind a link of a document. Links are as the server believes to be reached; the page
// knows where it really is, so only what is asked for is taken of them.
export function onward(address, document) {
  const href = (document.links ?? []).find((link) => link.rel === "next")?.href;
  if (!href) return null;
  const next = new URL(address);
  next.search = new URL(href, location.href).search;
  return next;
}

// All of a list that comes in pages.
export async function all(address, member) {
  const found = [];
  for (let next = address; next; ) {
    const document = await ask(next);
    found.push(...document[member]);
    next = onward(next, document);
  }
  return found;
}

export async function logIn(user, password, text) {
  if (text) {
    token.set(text);
    await ask(at("me"));
    return;
  }
  const pair = new TextEncoder().encode(`${user}:${password}`);
  const Authorization = `Basic ${btoa(String.fromCharCode(...pair))}`;
  const answer = await fetch(at("credentials", "basic"), {
    headers: { Accept: "application/json", Authorization }, cache: "no-store",
  });
  const said = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, said);
  token.set(`basic//${said.access_token}`);
}
