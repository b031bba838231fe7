// What the pages of processes ask the server for. Addresses are relative to theirs.
export async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.message || `The server answered ${answer.status}.`);
  return content;
}

async function all(path, member) {
  const found = [];
  for (let next = path; next; ) {
    const page = await ask(next);
    found.push(...page[member]);
    next = (page.links || []).find((link) => link.rel === "next")?.href;
  }
  return found;
}

export const processes = () => all("processes", "processes");
export const collections = () => all("collections", "collections");

export function say(text) {
  const place = document.getElementById("message");
  place.textContent = text;
  place.hidden = !text;
}
