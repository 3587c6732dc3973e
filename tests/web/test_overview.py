"""The overview: figures of the core, and charts of what pages asked for before."""

from __future__ import annotations


def test_the_figures_are_those_of_the_core(core, browse):
    client = core.client()
    client.registry_define("page", {})
    client.snippet_create("page", "blog/intro", {"title": "Intro"})
    page = browse.get("/").text
    stats = client.stats()
    assert f"pid {stats['pid']}" in page
    assert '<dd data-key="Store/Snippets">1</dd>' in page
    assert str(core.data_dir) in page
    values = browse.json("/overview.json")["values"]
    assert values["Store/Snippets"] == "1"
    assert values["Core/Version"].endswith(f"pid {stats['pid']}")


def test_every_figure_of_the_page_is_renewed(browse):
    page = browse.get("/").text
    keys = {part.partition('"')[0] for part in page.split('data-key="')[1:]}
    assert len(keys) > 15
    assert keys <= set(browse.json("/overview.json")["values"])


def test_charts_have_points_after_two_samples(browse):
    browse.get("/")
    while True:
        charts = browse.json("/overview.json")["charts"]
        if len(charts["memory"]["line"].split()) >= 2:
            break
    assert set(charts) == {"requests", "turn", "memory", "connections"}
    assert charts["memory"]["line"].split()[-1].startswith("300.0,")


def test_a_core_that_restarted_begins_a_new_chart():
    from reed.web.history import History

    now = iter(range(100))
    history = History(lambda: float(next(now)))

    def stats(pid: int, calls: int) -> dict:
        commands = {"SNIPPET_GET": {"calls": calls}}
        loop = {"histogram": [0, calls, 1]}
        return {"pid": pid, "commands": commands, "loop": loop, "memory_bytes": 1 << 24, "connections": 1}

    history.add(stats(1, 100))
    history.add(stats(1, 150))
    assert history.charts()["requests"].now == 50
    assert history.charts()["turn"].now == 0.002
    history.add(stats(2, 5))
    assert history.charts()["requests"].line == ""
    history.add(stats(2, 6))
    assert history.charts()["requests"].now == 1
