// Names of snippets that begin as typed, for every input with data-suggest.

import {get} from "/static/page.js";

document.addEventListener("input", async (event) => {
  const input = event.target.closest("input[data-suggest]");
  if (!input) return;
  const typed = input.value;
  const names = await get(`/content/names?prefix=${encodeURIComponent(typed)}`).catch(() => []);
  if (input.value !== typed) return; // a later answer will come
  input.list.replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), {value: name})));
});
