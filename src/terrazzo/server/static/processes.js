// The page of all processes: what the server tells programs, shown to people.
import { processes, say } from "./openeo.js";

const list = document.getElementById("list");
const filter = document.getElementById("filter");
try {
  const found = await processes();
  list.processes = found;
  filter.value = decodeURIComponent(location.hash.slice(1));
  list.searchTerm = filter.value;
  filter.addEventListener("input", () => { list.searchTerm = filter.value; });
  say("");
  document.documentElement.dataset.loaded = found.length;
} catch (error) {
  say(error.message);
}
