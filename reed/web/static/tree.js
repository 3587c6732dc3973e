// The tree of bonds: buttons, Alt and arrow keys, and dragging, without loading the page again. Each move is one POST;
// the core's new tree replaces the one that is shown.

import {post, say} from "/static/page.js";

const form = document.getElementById("tree");
const nodes = document.getElementById("nodes");
const KEYS = {ArrowUp: "up", ArrowDown: "down", ArrowLeft: "out", ArrowRight: "in"};
let dragged = null;

async function move(order, child, parent, focus) {
  try {
    const {said, tree} = await post("/content/tree", {do: order, root: form.elements.root.value});
    nodes.replaceChildren(...new DOMParser().parseFromString(tree, "text/html").body.childNodes);
    say(said);
  } catch (error) {
    say(error.message, "notice problem");
  }
  const places = [...nodes.querySelectorAll(`li[data-id="${CSS.escape(child)}"]`)];
  const place = places.find((each) => each.dataset.parent === parent) ?? places[0];
  const row = place?.querySelector(":scope > .row");
  const button = focus && row?.querySelector(`[data-verb="${focus}"]:enabled`);
  (button || row?.querySelector("a.node") || nodes.querySelector("a.node"))?.focus();
}

// Where the snippet will be, to find it again: the same snippet may be at several places.
function parentAfter(item, verb) {
  if (verb === "in") return item.previousElementSibling?.dataset.id;
  if (verb === "out") return item.parentElement.closest("li")?.dataset.parent;
  return item.dataset.parent;
}

function press(button, focus) {
  const item = button.closest("li");
  return move(button.value, item.dataset.id, parentAfter(item, button.dataset.verb), focus);
}

form?.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-verb]");
  if (!button) return;
  event.preventDefault();
  press(button, button.dataset.verb);
});

form?.addEventListener("keydown", (event) => {
  const verb = KEYS[event.key];
  const link = event.target.closest("a.node");
  if (!verb || !link || !event.altKey) return;
  event.preventDefault();
  const button = link.parentElement.querySelector(`[data-verb="${verb}"]:enabled`);
  if (button) press(button, "");
});

// Dragging: onto the middle of a row is below it, onto its upper or lower edge is before or after it.

form?.addEventListener("dragstart", (event) => {
  dragged = event.target.closest?.(".handle")?.closest("li") ?? null;
  if (!dragged) return;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.dataset.id);
  event.dataTransfer.setDragImage(dragged.querySelector(".row"), 0, 0);
});

form?.addEventListener("dragover", (event) => {
  const row = event.target.closest?.(".row");
  if (!dragged || !row || dragged.contains(row)) return;
  event.preventDefault();
  clear();
  row.classList.add(`drop-${zone(row, event)}`);
});

form?.addEventListener("drop", (event) => {
  const row = event.target.closest?.(".row");
  if (!dragged || !row || dragged.contains(row)) return;
  event.preventDefault();
  const where = zone(row, event);
  const item = row.closest("li");
  const target = where === "into" ? item.dataset.id : item.dataset.parent;
  let next = where === "before" ? item : where === "after" ? item.nextElementSibling : null;
  if (next === dragged) next = dragged.nextElementSibling;
  const {id, parent} = dragged.dataset;
  move(`to ${parent} ${id} ${target} ${next?.dataset.id ?? ""}`.trim(), id, target, "");
});

form?.addEventListener("dragend", () => {
  dragged = null;
  clear();
});

function zone(row, event) {
  if (!row.closest("li").dataset.parent) return "into";
  const {top, height} = row.getBoundingClientRect();
  const at = (event.clientY - top) / height;
  return at < 0.3 ? "before" : at > 0.7 ? "after" : "into";
}

function clear() {
  for (const row of nodes.querySelectorAll(".row")) row.classList.remove("drop-before", "drop-after", "drop-into");
}
