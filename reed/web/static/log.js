// Adds what is written to the log, and scrolls with it while its end is seen.

const log = document.getElementById("log");
const pause = document.getElementById("log-pause");
const MAX_CHARACTERS = 400_000;
let place = log.dataset.place;
let source = null;

function follow() {
  source = new EventSource(`${log.dataset.follow}?place=${encodeURIComponent(place)}`);
  source.addEventListener("text", (event) => {
    const added = JSON.parse(event.data);
    place = added.place;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    log.append(added.text);
    if (log.textContent.length > MAX_CHARACTERS) log.textContent = log.textContent.slice(-MAX_CHARACTERS / 2);
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("error", () => {
    source.close();
    if (pause.ariaPressed !== "true") setTimeout(follow, 3000);
  });
}

pause.hidden = false;
pause.addEventListener("click", () => {
  const paused = pause.ariaPressed !== "true";
  pause.ariaPressed = String(paused);
  pause.textContent = paused ? "Continue" : "Pause";
  if (paused) source.close();
  else follow();
});
log.scrollTop = log.scrollHeight;
follow();
