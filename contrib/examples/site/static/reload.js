// Reloads the page when the core has changed a page since this one was made.
const shown = document.documentElement.dataset.version;
const events = new EventSource("/changes?since=" + encodeURIComponent(shown));
events.addEventListener("change", () => {
  const typed = document.querySelector("main form textarea, main form input");
  if (!typed || [...document.querySelectorAll("main form textarea, main form input")].every((each) => each.value === each.defaultValue)) {
    location.reload(); // not while somebody writes into a form
  }
});
