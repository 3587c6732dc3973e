"""A real core, and a real process of `reed web` that is used over HTTP or from a real browser.

web       a core and its `reed web`; web.browse() is a signed-in client of HTTP
browser   a signed-in Chromium on the page of `web`; skipped with the reason where it is missing
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

for package in ("starlette", "uvicorn", "jinja2"):
    pytest.importorskip(package, reason=f"{package} is not here: pip install 'reed-cms[web]'")

TIMEOUT = 60  # seconds


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def csrf(self) -> str:
        found = re.search(r'<meta name="csrf" content="([\w-]+)">', self.text)
        assert found, self.text
        return found[1]


class Browse:
    """A client of HTTP with a cookie, and the CSRF token of the last page."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.port = port
        self.cookie = cookie
        self.csrf = ""

    def get(self, path: str, **headers: str) -> Answer:
        return self._request("GET", path, None, headers)

    def json(self, path: str) -> Any:
        answer = self.get(path, Accept="application/json")
        assert answer.status == 200, answer.text
        return answer.json

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        """With the CSRF token, unless the fields have one."""
        if not self.csrf and "csrf" not in (fields or {}):
            self.csrf = self.get("/").csrf
        given = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._request("POST", path, urlencode({"csrf": self.csrf} | (fields or {})), given)

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            given.setdefault("Cookie", self.cookie)
        try:
            connection.request(method, path, body, given)
            return Answer(connection.getresponse())
        finally:
            connection.close()


class WebProcess:
    """`reed web` on a free port, which serves once it has printed its link."""

    def __init__(self, runtime_dir: Path, folder: Path, *options: str) -> None:
        self.log = folder / "web.log"
        self.log_file = self.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reed", "web", "--listen", "127.0.0.1:0", *options],
            env={**os.environ, "REED_RUNTIME_DIR": str(runtime_dir)},
            stdout=subprocess.PIPE,
            stderr=self.log_file,
            text=True,
        )
        self._links: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.link = self.next_link()

    @property
    def port(self) -> int:
        port = urlsplit(self.link).port
        assert port
        return port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next_link(self) -> str:
        link = self._links.get(timeout=TIMEOUT)
        assert link, self.log.read_text()
        return link

    def new_link(self) -> str:
        self.process.send_signal(signal.SIGUSR1)
        return self.next_link()

    def browse(self) -> Browse:
        """Signed in."""
        answer = Browse(self.port).get(urlsplit(self.new_link()).path)
        assert answer.status == 200, answer.text
        return Browse(self.port, answer.headers["Set-Cookie"].partition(";")[0])

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        self.log_file.close()
        assert self.process.stdout
        self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._links.put(line.strip())
        self._links.put("")


@pytest.fixture
def web(core, tmp_path) -> Iterator[WebProcess]:
    web = WebProcess(core.runtime_dir, tmp_path)
    yield web
    assert web.end() == 0
    assert "Traceback" not in web.log.read_text(), web.log.read_text()


@pytest.fixture
def browse(web) -> Browse:
    return web.browse()


# The browser ---------------------------------------------------------------------------------------------------------

CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[Any]:
    """One browser for all tests; each test begins on an empty page without cookies."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not here: pip install selenium")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("Chromium is not here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    started.set_page_load_timeout(TIMEOUT)
    yield started
    started.quit()


@pytest.fixture
def browser(chromium, web) -> Iterator[Any]:
    """Signed in, on the overview. Afterwards nothing may have violated the Content-Security-Policy."""
    chromium.get_log("browser")
    chromium.get(web.new_link())
    _wait_for(chromium, lambda: chromium.title.startswith("Overview"))
    yield chromium
    logged = [entry["message"] for entry in chromium.get_log("browser")]
    chromium.delete_all_cookies()
    chromium.get("about:blank")
    assert not [text for text in logged if "Content Security Policy" in text or "Uncaught" in text]


@pytest.fixture
def wait_for(chromium):
    """wait_for(condition): until the function returns something true, which it returns."""
    return lambda condition: _wait_for(chromium, condition)


@pytest.fixture
def open_page(browser, web, wait_for):
    """open_page(path): load it, wait until its scripts are loaded, and return the browser."""

    def load(path: str) -> Any:
        browser.get(web.origin + path)
        wait_for(lambda: browser.execute_script("return document.readyState") == "complete")
        return browser

    return load


def _wait_for(chromium: Any, condition: Any) -> Any:
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    ignored = (NoSuchElementException, StaleElementReferenceException)
    return WebDriverWait(chromium, TIMEOUT, ignored_exceptions=ignored).until(lambda _: condition())


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The text of axe-core's axe.min.js, from REED_AXE or a folder node_modules."""
    named = os.environ.get("REED_AXE")
    here = Path(__file__).resolve().parents[2]
    for path in [Path(named)] if named else [here / "node_modules/axe-core/axe.min.js"]:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    pytest.skip("axe-core is not here: npm install axe-core, or name its axe.min.js: REED_AXE=FILE")


@pytest.fixture
def accessible(browser, axe_source):
    """accessible(): no serious or critical problem on the page that is shown."""

    def check() -> None:
        browser.execute_script(axe_source)
        found = browser.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done);"
        )
        serious = [each for each in found["violations"] if each["impact"] in {"serious", "critical"}]
        assert not serious, "\n".join(
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:5]]}" for each in serious
        )

    return check
