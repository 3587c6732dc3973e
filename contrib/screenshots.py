"""Make the screenshots of the guide: python contrib/screenshots.py [FOLDER]

Starts a core with some content and the bundled Lua plugins, `reed web`, and a headless Chromium, and saves
FOLDER/web-PAGE.png (contrib/docs/guide). Needs the extra web, selenium, and chromium and chromium-driver of Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from reed.client import Client
from reed.testing import Core

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 100_000  # of a file
WIDTH, HEIGHT = 1000, 720
CHART_SECONDS = 20  # of requests, for the charts
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
PAGES = {  # name of the file: path, colours
    "overview": ("/", "light"),
    "plugins": ("/plugins", "light"),
    "action": ("/plugins/simple-seo/actions/validate", "light"),
    "plugin": ("/plugins/simple-seo", "dark"),
    "monitor": ("/monitor?text=get", "dark"),
    "content": ("/content?type=page", "light"),
    "snippet": ("/content/open?name=blog/intro", "light"),
}
SCHEMA = {
    "type": "object",
    "required": ["title"],
    "properties": {
        "title": {"type": "string", "title": "Title", "maxLength": 80},
        "description": {"type": "string", "title": "Description"},
        "body": {"type": "string", "title": "Text"},
        "draft": {"type": "boolean", "title": "Draft"},
    },
}
TEXT = (
    "# {title}\n\nReed grows along rivers and lakes, and was used for roofs for thousands of years.\n\n## Harvest\n\n"
)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "contrib" / "docs" / "guide"
    with (
        tempfile.TemporaryDirectory(prefix="reed-shots-") as work,
        site(Path(work)) as core,
        web(core) as link,
        browser(Path(work)) as chromium,
    ):
        chromium.get(link)
        WebDriverWait(chromium, 60).until(lambda _: chromium.title.startswith("Overview"))
        origin = link.partition("/sign-in/")[0]
        until = time.monotonic() + CHART_SECONDS
        while time.monotonic() < until:
            use(core.client())
        for name, (path, colours) in PAGES.items():
            shoot(chromium, core, origin + path, colours, folder / f"web-{name}.png")
    return 0


@contextmanager
def site(work: Path) -> Iterator[Core]:
    plugins = {
        ROOT / "contrib/plugins/simple-seo": ["snippet_read"],
        ROOT / "contrib/plugins/form-validator": ["snippet_read"],
        ROOT / "contrib/plugins/backup": ["snippet_read", "registry_read", "schema_read", "file_write"],
    }
    with Core(work / "site", plugins=plugins) as core:
        client = core.client()
        client.registry_define("page", {"schema": SCHEMA, "searchable": {"title": 3, "body": 1}})
        for name in ("intro", "harvest", "roofs", "rivers", "paper", "music"):
            page = {"title": f"Reed: {name}", "body": TEXT.format(title=name), "draft": name == "music"}
            client.snippet_create("page", f"blog/{name}", page)
        client.plugin_stop("backup")
        yield core


@contextmanager
def web(core: Core) -> Iterator[str]:
    """The link that signs in."""
    command = [sys.executable, "-m", "reed", "web", "--listen", "127.0.0.1:0"]
    environ = {**core.environ, "REED_RUNTIME_DIR": str(core.runtime_dir)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def browser(work: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (*FLAGS, f"--user-data-dir={work / 'chromium'}", f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver")
    chromium = webdriver.Chrome(options=options, service=service)
    try:
        yield chromium
    finally:
        chromium.quit()


def use(core: Client) -> None:
    for name in ("intro", "harvest", "roofs"):
        core.snippet_get(f"blog/{name}")
        core.plugin_send("simple-seo", "validate", f"blog/{name}")
    core.search("rivers")
    core.close()
    time.sleep(0.1)


def shoot(chromium: Any, core: Core, address: str, colours: str, path: Path) -> None:
    features = [{"name": "prefers-color-scheme", "value": colours}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chromium.get(address)
    if address.endswith("/validate"):
        field = chromium.find_element("id", "input")
        field.clear()
        field.send_keys("blog/intro\n")
        WebDriverWait(chromium, 60).until(lambda _: chromium.find_elements("id", "answer"))
    for _ in range(5):  # two of them are polled by the page, or seen by the monitor
        use(core.client())
        time.sleep(0.5)
    chromium.save_screenshot(str(path))
    size = os.path.getsize(path)
    print(f"{path} {size // 1000} KB")
    if size > MAX_BYTES:
        raise SystemExit(f"{path} has {size} bytes, at most {MAX_BYTES}")


if __name__ == "__main__":
    sys.exit(main())
