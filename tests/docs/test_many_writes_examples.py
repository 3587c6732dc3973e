"""The second plugin of the guide to Lua plugins, which changes many pages, runs as it stands."""

from __future__ import annotations

import json

from .test_examples import DOCS, blocks, write_plugin


def test_the_plugin_that_changes_many_pages(site) -> None:
    guide = (DOCS / "guide/lua-plugin.md").read_text(encoding="utf-8")
    site.run("reed", "init")
    write_plugin(site, "word-count", "guide/lua-plugin.md")
    (row,) = blocks("guide/lua-plugin.md", "csv")
    registry = site.folder / "plugin-registry.csv"
    head = registry.read_text(encoding="utf-8")
    registry.write_text(head + row, encoding="utf-8")
    site.run("reed", "start")
    site.run("reed", "registry", "define", "page", "{}")
    for number in range(3):
        site.run("reed", "snippet", "create", "page", "--name", f"blog/{number}", '{"body": "A few words."}')
    site.run("reed", "snippet", "create", "page", "--name", "blog/intro", '{"body": "A few words, to be counted."}')

    (site.folder / "plugins/word-count/main.lua").write_text(blocks("guide/lua-plugin.md", "lua")[1], encoding="utf-8")
    registry.write_text(head + row.replace('"snippet_read"', '"snippet_read,snippet_write"'), encoding="utf-8")
    section = guide.partition("## Many pages")[2].partition("\n## ")[0]
    assert "    reed plugin reload\n    reed snippet get blog/intro\n" in section
    site.run("reed", "plugin", "reload")
    site.run("reed", "plugin", "send", "word-count", "count", "blog/intro")  # after on_start
    assert json.loads(site.run("reed", "snippet", "get", "blog/intro"))["words"] == 6
    assert json.loads(site.run("reed", "snippet", "get", "blog/0"))["words"] == 3
    assert "updated 4 pages" in site.run("reed", "plugin", "logs", "word-count")
