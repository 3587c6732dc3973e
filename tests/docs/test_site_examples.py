"""contrib/examples/site and its tutorial, guide/site.md: a real core, a real server, requests over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.waiting import until

from .conftest import EmptySite

for package in ("markdown_it", "mdit_py_plugins", "starlette", "uvicorn", "jinja2"):
    pytest.importorskip(package, reason=f"{package} is not here: pip install 'reed-cms[markdown,web]'")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "contrib/examples/site"
GUIDE = (ROOT / "contrib/docs/guide/site.md").read_text(encoding="utf-8")
PATIENCE = 30  # seconds


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.html = response.read().decode()

    @property
    def text(self) -> str:
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.html)).split())


class Server:
    def __init__(self, address: str) -> None:
        self.address = urlsplit(address).netloc

    def get(self, path: str) -> Answer:
        return self._ask("GET", path)

    def post(self, path: str, **fields: str) -> Answer:
        return self._ask("POST", path, urlencode(fields))

    def _ask(self, method: str, path: str, body: str | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.request(method, path, body)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    @contextmanager
    def events(self, since: str) -> Iterator[Iterator[str]]:
        """The lines of /changes."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.request("GET", f"/changes?since={since}")
            response = connection.getresponse()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield (line.decode().strip() for line in response)
        finally:
            connection.close()


def changed(lines: Iterator[str]) -> str:
    """Wait for the next change; its version."""
    for line in lines:
        if line == "event: change":
            return next(lines).removeprefix("data: ")
    raise AssertionError("the server ended the events")


@contextmanager
def serving(site) -> Iterator[Server]:
    """app.py with the environment of the site."""
    command = [sys.executable, str(EXAMPLE / "app.py"), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, cwd=site.folder, env=site.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield Server(address)
    finally:
        process.send_signal(signal.SIGTERM)
        kill = threading.Timer(PATIENCE, process.kill)
        kill.start()
        errors = process.communicate()[1]
        kill.cancel()
    assert process.returncode in (0, -signal.SIGTERM), errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def server(site) -> Iterator[Server]:
    """Of an empty core."""
    site.run("reed", "init")
    site.run("reed", "start")
    with serving(site) as server:
        yield server


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Iterator[tuple[EmptySite, Server]]:
    """The pages of the example, for tests that change no page."""
    folder = tmp_path_factory.mktemp("example")
    site = EmptySite(folder)
    site.run("reed", "init")
    site.run("reed", "start")
    site.run("reed", "plugin", "start", "simple-seo", "form-validator")
    report = json.loads(site.run("reed", "import", str(EXAMPLE / "content"), "--markdown", "--json"))
    assert report["warnings"] == report["refused"] == report["unnamed"] == []
    assert report["snippets"] >= 10
    with serving(site) as server:
        yield site, server
    site.run("reed", "stop")


def test_the_tutorial(site) -> None:
    """Each block as it stands, and what the text between them promises."""
    writing, importing, editing, form = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    site.run("sh", "-eu", text=writing)
    printed = site.run("sh", "-eu", text=importing)
    assert printed.count("snippets\t4\n") == 2  # the dry run and the import
    assert "guide/sourdough" in printed.rpartition("refused")[2]
    site.run("reed", "plugin", "start", "simple-seo", "form-validator")
    with serving(site) as server:
        the_browser_follows(site, server, editing)
        page = http.client.HTTPConnection(server.address, timeout=PATIENCE)
        page.request("GET", "/changes")
        events = page.getresponse()
    events.read()  # the server has ended it, and itself, without an error
    page.close()
    site.run("sh", "-eu", text=form)
    docs(site, "docs/guide/sourdough.md", "---\ntitle: a: b\n---\n")
    command = ["reed", "import", "docs", "--markdown"]
    ran = subprocess.run(command, cwd=site.folder, env=site.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[0] in GUIDE


def the_browser_follows(site, server: Server, editing: str) -> None:
    page = server.get("/guide/sourdough")
    assert "twice a day" in page.text
    links = re.findall(r'<li><a href="([^"]*)"', page.html)
    assert links == ["/guide", "/guide/first-day", "/guide/sourdough"]
    assert 'aria-current="page">Sourdough' in page.html
    assert re.search(r'class="keyword"[^>]*>\w+</a>', page.html)
    assert '<a href="/guide/first-day">first day</a>' in server.get("/").html
    assert '<td class="right">4:00</td>' in server.get("/guide/first-day").html

    (version,) = re.findall(r'data-version="(\w+)"', page.html)
    with server.events(version) as lines:
        assert next(lines).startswith("retry:")
        report = site.run("sh", "-eu", text=editing)
        assert "snippets\t1\nupdated\t1\n" in report
        while "three" not in server.get("/guide/sourdough").text or "Holidays" not in server.get("/").text:
            changed(lines)


def docs(site, name: str, text: str) -> Path:
    path = site.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_pages_of_the_example(example) -> None:
    _, server = example
    pages = set(re.findall(r'<li><a href="([^"]*)"', server.get("/").html)) | {"/"}
    assert len(pages) == len(list((EXAMPLE / "content").rglob("*.md")))
    for path in sorted(pages):
        page = server.get(path)
        assert page.status == 200
        assert page.html.count("<h1") == 1
        for target in re.findall(r'(?:href|src)="(/[^"]*)"', page.html):
            assert server.get(target).status == 200, (path, target)
    # What a page may do.
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall("<script[^>]*>", page.html) == ['<script src="/static/reload.js" defer>']
    assert "<b>" not in server.get("/this-site").html

    found = server.get("/search?q=crash")
    assert "<mark>crash</mark>" in found.html
    assert '<a href="/plugins/failures">When a plugin fails</a>' in found.html
    assert server.get("/search?q=%3F").status == 200
    assert server.get("/index").status == 308
    assert server.get("/nothing").status == 404


def test_the_form_of_the_example(example) -> None:
    site, server = example
    good = {"name": "Ada", "email": "ada@example.org", "topic": "other", "message": "Hello <there>, all."}
    wrong = server.post("/contact", **{**good, "email": "ada@", "message": "<b>"})
    assert wrong.status == 422
    assert "does not look like an e-mail address" in wrong.text
    assert "at least 10 characters" in wrong.text
    assert 'value="ada@"' in wrong.html
    assert "&lt;b&gt;</textarea>" in wrong.html
    assert '<option value="other" selected>' in wrong.html
    for fields in (good, {**good, "website": "spam"}):
        sent = server.post("/contact", **fields)
        assert (sent.status, sent.headers["location"]) == (303, "/contact?sent")
    assert "Thank you" in server.get("/contact?sent").text
    (message,) = json.loads(site.run("reed", "snippet", "list", "--type", "message", "--json"))
    assert message["content"]["message"] == "Hello <there>, all."
    assert message["content"]["page"] == "contact"
    assert server.post("/install", a="b").status == 405
    assert server.post("/contact", message="x" * 70_000).status == 413
    site.run("reed", "plugin", "stop", "form-validator")
    assert server.post("/contact", **good).status == 503


def test_what_a_page_says_is_text(site, server) -> None:
    attack = "<script>alert(1)</script>"
    fields = {"title": attack, "description": f'">{attack}', "keywords": [attack]}
    body = f'{attack}\n\n[x](javascript:alert(1)) ![y]("onerror=x)\n'
    docs(site, "docs/index.md", f"---\n{json.dumps(fields)}\n---\n{body}")
    form = {"fields": [{"name": '"><b>', "label": attack, "type": '"><b>'}]}
    docs(site, "docs/b.md", f"---\n{json.dumps(form)}\n---\n")
    site.run("reed", "import", "docs", "--markdown")
    for path in ("/", "/b", "/search?" + urlencode({"q": attack}), "/" + quote(attack)):
        html = server.get(path).html
        assert "<script>" not in html
        assert "<b>" not in html
        assert 'href="javascript' not in html
    assert "alert(1)" in server.get("/").text


def test_the_site_outlives_the_core(site, server) -> None:
    """Without a core it answers 503; when the core is back it shows what has changed meanwhile."""
    docs(site, "docs/index.md", "First.\n")
    assert server.get("/").status == 404
    site.run("reed", "import", "docs", "--markdown")
    with server.events("old") as lines:
        while server.get("/").status == 404:
            changed(lines)
    shown = server.get("/")
    assert "First." in shown.text
    (version,) = re.findall(r'data-version="(\w+)"', shown.html)
    site.run("reed", "stop")
    until(lambda: server.get("/").status == 503)  # as soon as it has noticed
    with server.events(version) as lines:
        site.run("reed", "start")
        docs(site, "docs/index.md", "Second.\n")
        site.run("reed", "import", "docs", "--markdown")
        while "Second." not in server.get("/").text:
            changed(lines)


@pytest.mark.skipif(not shutil.which("chromium") or not shutil.which("chromedriver"), reason="Chromium is not here")
def test_a_browser_shows_a_change(example, tmp_path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.support.ui import WebDriverWait

    site, server = example
    options = webdriver.ChromeOptions()
    for each in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(each)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(f"http://{server.address}/install")
        site.run("reed", "snippet", "update", "install", '{"body": "Another text."}')
        WebDriverWait(driver, PATIENCE).until(lambda _: "Another text." in driver.page_source)
    finally:
        driver.quit()
