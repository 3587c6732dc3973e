import {fill, poll} from "/static/page.js";

const shown = [...document.querySelectorAll("tr[data-plugin]")].map((row) => row.dataset.plugin);

poll("/plugins.json", 2, ({values, names}) => {
  if (shown.length && names.join() !== shown.join()) return location.reload();
  fill(values);
  for (const element of document.querySelectorAll("[data-plugin]")) {
    element.dataset.running = values[`${element.dataset.plugin}/running`] ?? "no";
  }
  for (const element of document.querySelectorAll('pre[data-key$="/problem"]')) element.hidden = !element.textContent;
});
