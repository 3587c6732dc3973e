// What every page has: requests with the CSRF token, and figures that are read again while the page is seen.
//
//   const answer = await post("/plugins/x/start", {wait: "1"});   // JSON of the answer; throws an Error with the message
//   poll("/overview.json", 2, (value) => …);                      // the first time at once
//   say("started");                                               // shown, and read out by screen readers

function csrf() {
  return document.querySelector('meta[name="csrf"]')?.content ?? "";
}

export async function post(url, fields = {}) {
  return answerOf(await fetch(url, {
    method: "POST",
    headers: {Accept: "application/json", "X-CSRF-Token": csrf()},
    body: new URLSearchParams(fields),
  }));
}

export async function get(url) {
  return answerOf(await fetch(url, {headers: {Accept: "application/json"}}));
}

async function answerOf(response) {
  const value = await response.json().catch(() => ({}));
  if (!response.ok) {
    const {message = `status ${response.status}`, hint = ""} = value.error ?? {};
    throw Object.assign(new Error(hint ? `${message}; ${hint}` : message), {status: response.status});
  }
  return value;
}

// A page in the background asks for nothing.
export async function poll(url, seconds, show) {
  if (!document.hidden) {
    try {
      show(await get(url));
      back();
    } catch (error) {
      away(error);
    }
  }
  setTimeout(poll, seconds * 1000, url, seconds, show);
}

export function say(text, kind = "notice") {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  document.getElementById("notices").replaceChildren(line);
}

// Says once that the figures on the page are old, and takes it back when they are not.
let missing = null;

function away(error) {
  if (missing?.isConnected && missing.textContent === error.message) return;
  say(error.message, "notice problem");
  missing = document.getElementById("notices").firstElementChild;
}

function back() {
  missing?.remove();
  missing = null;
}

// Texts of the elements with these values of data-key. One with the class state shows its state by colour as well.
export function fill(values) {
  for (const element of document.querySelectorAll("[data-key]")) {
    const text = values[element.dataset.key];
    if (text === undefined || element.textContent === text) continue;
    element.textContent = text;
    if (element.classList.contains("state")) element.dataset.state = text;
  }
}
