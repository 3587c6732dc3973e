// The form of a snippet: items of arrays are added, moved and removed without loading the page again, and a person is
// asked before what was typed gets lost. Without this script the same buttons load the page.

let isChanged = false;

document.addEventListener("click", async (event) => {
  const button = event.target.closest('button[name="action"]');
  const form = button?.closest("#edit");
  if (!form || button.value === "save") return;
  event.preventDefault();
  const response = await fetch(form.getAttribute("action"), { // form.action would be the buttons of that name
    method: "POST",
    headers: {Accept: "text/html"},
    body: new URLSearchParams(new FormData(form, button)),
  });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const renewed = page.getElementById("edit");
  if (!renewed) {
    form.requestSubmit(button);
    return;
  }
  isChanged = true;
  form.replaceWith(document.adoptNode(renewed));
  const target = renewed.querySelector("[autofocus]");
  const control = target?.matches("fieldset") ? target.querySelector("input:not([type=hidden]), select, textarea") : target;
  (control ?? target)?.focus();
});

document.addEventListener("input", (event) => {
  if (event.target.closest("#edit")) isChanged = true;
});

document.addEventListener("submit", () => { isChanged = false; });

window.addEventListener("beforeunload", (event) => {
  if (isChanged) event.preventDefault();
});
