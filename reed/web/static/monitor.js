// The newest frames are on top. Kept are at most MAX_KEPT, and of these MAX_ROWS are in the table.

import {say} from "/static/page.js";

const MAX_ROWS = 300;
const MAX_KEPT = 5000;
const COLUMNS = ["at", "peer", "way", "kind", "what", "fields"];

const form = document.getElementById("filter");
const rows = document.getElementById("frames");
const pause = document.getElementById("pause");
const count = document.getElementById("count");

let kept = [];      // the oldest first
let waiting = 0;    // came while it was paused
let leftOut = 0;
let source = null;
let retry = 0;

function connect() {
  source?.close();
  clearTimeout(retry);
  const {peer, text} = form.elements;
  source = new EventSource(`/monitor/events?${new URLSearchParams({peer: peer.value, text: text.value})}`);
  source.addEventListener("frames", (event) => add(JSON.parse(event.data)));
  source.addEventListener("problem", (event) => {
    say(JSON.parse(event.data), "notice problem");
    source.close();
    retry = setTimeout(connect, 5000);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, 5000);
  });
}

function add({frames, left_out: missing}) {
  kept.push(...frames);
  kept.splice(0, kept.length - MAX_KEPT);
  leftOut += missing;
  if (pause.ariaPressed === "true") waiting += frames.length;
  else show(frames);
  tell();
}

function show(frames) {
  const added = frames.slice(-MAX_ROWS).reverse().map((frame) => {
    const row = document.createElement("tr");
    for (const column of COLUMNS) row.insertCell().textContent = frame[column];
    row.dataset.kind = frame.kind;
    return row;
  });
  rows.prepend(...added);
  while (rows.rows.length > MAX_ROWS) rows.lastElementChild.remove();
}

function tell() {
  const parts = [`${kept.length} frames kept`];
  if (waiting) parts.push(`${waiting} came during the pause`);
  if (leftOut) parts.push(`${leftOut} left out, since they came too fast`);
  count.textContent = parts.join("; ");
}

pause.addEventListener("click", () => {
  const paused = pause.ariaPressed !== "true";
  pause.ariaPressed = String(paused);
  pause.textContent = paused ? "Continue" : "Pause";
  if (!paused && waiting) show(kept.slice(-waiting));
  if (!paused) waiting = 0;
  tell();
});

document.getElementById("clear").addEventListener("click", () => {
  kept = [];
  waiting = leftOut = 0;
  rows.replaceChildren();
  tell();
});

document.getElementById("save").addEventListener("click", () => {
  const parts = kept.map(({raw}) => Uint8Array.from(atob(raw), (character) => character.charCodeAt(0)));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, {type: "application/octet-stream"}));
  link.download = "reed.frames";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

form.addEventListener("change", connect);
form.addEventListener("submit", (event) => {
  if (!event.submitter?.hasAttribute("formaction")) {
    event.preventDefault();
    connect();
  }
});
document.getElementById("live").hidden = false;
connect();
