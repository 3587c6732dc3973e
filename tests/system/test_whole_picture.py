"""ReedCMS-10 as a whole: five plugins side by side, and messages between them.

ai-core optimize ── MSG_KEYWORD_OPTIMIZED ──▶ analytics ── MSG_CONTENT_ANALYZED ──▶ backup
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from reed.client import Client
from reed.config import BUNDLED_PLUGINS
from tests.waiting import until

ROOT = Path(__file__).parents[2]
# Bundled plugins of the installed package, or of the checkout.
CONTRIB = BUNDLED_PLUGINS if BUNDLED_PLUGINS.is_dir() else ROOT / "contrib/plugins"
GUIDE = (ROOT / "contrib/docs/guide/bundled-plugins.md").read_text(encoding="utf-8")
ROWS = (
    'ai-core,native,{},1.0.0,"snippet_read,snippet_write","admin",true,""',
    'analytics,native,{},1.0.0,"system_stats","admin",false,""',
    'simple-seo,lua,{},1.2.0,"snippet_read","editor,admin",false,""',
    'form-validator,lua,{},2.1.0,"snippet_read","editor",false,""',
    'backup,lua,{},1.0.0,"snippet_read,registry_read,schema_read,file_write","admin",false,""',
)
NATIVE = ("ai-core", "analytics")
PAGE = {
    "schema": {"type": "object", "required": ["title"]},
    "searchable": {"title": 5, "description": 3, "body": 1},
}


@pytest.fixture
def five(site, cargo_build):
    """A site with all five plugins."""
    if not os.environ.get("REED_SLOW_TESTS"):
        pytest.skip("builds ai-core and analytics: half a minute; REED_SLOW_TESTS=1 runs it")
    for name in NATIVE:
        folder = site.root / "plugins" / name
        folder.mkdir()
        shutil.copy2(CONTRIB / name / "plugin.yaml", folder)
        shutil.copy2(cargo_build(CONTRIB / name, "--locked") / name, folder)
    for name in ("simple-seo", "form-validator", "backup"):
        shutil.copytree(CONTRIB / name, site.root / "plugins" / name)
    site.set_rows(*ROWS)
    return site


def send(site, *words: str):
    done = site.reed("plugin", "send", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def import_pages(site, pages: Path) -> None:
    with Client(site.socket_path) as core:
        core.registry_define("page", PAGE)
    done = site.reed("import", str(pages), "--type", "page", "--name-field", "path")
    assert done.returncode == 0, done.stderr


def contents(core: Client) -> list[tuple[str, str, object]]:
    return [(each.snippet_type, each.semantic_name, json.loads(each.content)) for each in core.snippets("", 500)]


@pytest.mark.slow
def test_results_of_ai_core_reach_analytics_and_backup(five) -> None:
    five.start()
    with Client(five.socket_path) as core:
        core.registry_define("page", PAGE)
        body = "A page bundle is a folder. Page resources are files of the page bundle. " * 3
        core.snippet_create("page", "bundles", {"title": "Page bundles", "body": body})
        for name in ("analytics", "simple-seo", "form-validator", "backup", "ai-core"):
            core.plugin_start(name)
        assert {plugin["state"] for plugin in core.plugin_health()} == {"ready"}
    found = send(five, "ai-core", "optimize", "bundles")
    assert "page bundle" in " ".join(found["keywords"])
    until(lambda: send(five, "backup", "list", "{}")["changes"] == 1, "backup was not told")
    stats = send(five, "analytics", "stats", "{}")
    assert [keyword for keyword, _ in stats["keywords"]] == sorted(found["keywords"])
    assert stats["content"]["snippets"] == 1
    assert send(five, "simple-seo", "validate", "bundles")["score"] > 0
    five.no_tracebacks()


@pytest.mark.slow
def test_the_keywords_in_the_guide_are_those_of_the_pages(five, pages) -> None:
    shown = re.findall(r"^\| `([\w./-]+)` \| (.+?) \|$", GUIDE, re.MULTILINE)
    assert len(shown) >= 4
    five.start()
    import_pages(five, pages)
    for page, keywords in shown:
        assert ", ".join(send(five, "ai-core", "optimize", page)["keywords"]) == keywords, page


@pytest.mark.slow
def test_each_of_the_five_passes_its_tests(five) -> None:
    for name in [row.split(",")[0] for row in ROWS]:
        report = json.loads(five.reed("plugin", "test", name, "--json", timeout=300).stdout)
        assert report["passed"], report


def test_a_backup_of_real_pages_is_restored_whole(site, pages) -> None:
    shutil.copytree(CONTRIB / "backup", site.root / "plugins/backup")
    site.set_rows(ROWS[-1].replace("false", "true"))
    site.config.write_text("plugins:\n  backup:\n    settings: {keep: 2}\n")
    site.start()
    import_pages(site, pages)
    taken = [send(site, "backup", "snapshot", "{}") for _ in range(3)]
    assert {each["snippets"] for each in taken} == {sum(1 for _ in pages.open("rb"))}
    assert [each["removed"] for each in taken] == [[], [], [taken[0]["file"]]]
    assert send(site, "backup", "list", "{}")["snapshots"] == [taken[2]["file"], taken[1]["file"]]
    with Client(site.socket_path) as core:
        before = contents(core)
    second = type(site)(site.root.parent / "second").start()
    try:
        done = second.reed("import", str(site.data_dir / "plugins/backup" / taken[2]["file"]))
        assert done.returncode == 0, done.stderr
        with Client(second.socket_path) as core:
            assert contents(core) == before
    finally:
        second.stop()
    site.no_tracebacks()
