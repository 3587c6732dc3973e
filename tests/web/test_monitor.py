"""Monitor: frames as they pass, and recordings that `reed monitor --from-file` reads."""

from __future__ import annotations

import http.client
import json
import threading

import pytest

from reed.errors import NotFound

from .conftest import WebProcess


class Stream:
    """A response that goes on."""

    def __init__(self, port: int, path: str, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        self.response = self.connection.getresponse()

    def event(self) -> tuple[str, dict]:
        lines = [self.response.readline() for _ in range(3)]
        return lines[0].decode().strip().partition(" ")[2], json.loads(lines[1].removeprefix(b"data: "))


def ask(core) -> None:
    with pytest.raises(NotFound):
        core.client().snippet_get("blog/<script>")


def wait_until_watched(core) -> None:
    """Until the core has logged it: frames from then on are seen."""
    while "started monitoring" not in core.log.read_text():
        core.client().stats()


def test_frames_are_decoded_as_they_pass(core, web, browse):
    assert "JavaScript" in browse.get("/monitor").text
    stream = Stream(web.port, "/monitor/events?text=snippet_get", Cookie=browse.cookie)
    wait_until_watched(core)
    ask(core)
    name, batch = stream.event()
    assert name == "frames"
    frames = batch["frames"]
    while len(frames) < 2:
        frames += stream.event()[1]["frames"]
    request, response = frames[:2]
    assert (request["way"], request["what"]) == ("to core", "SNIPPET_GET")
    assert request["fields"] == "ref=blog/<script>"
    assert response["way"] == "from core"
    assert "ERR_NOT_FOUND" in response["fields"]
    stream.connection.close()


def test_the_stream_says_that_the_core_has_stopped(core, web, browse):
    stream = Stream(web.port, "/monitor/events", Cookie=browse.cookie)
    wait_until_watched(core)
    core.stop()
    name, text = stream.event()
    while name == "frames":
        name, text = stream.event()
    assert name == "problem"
    assert "closed the monitor" in text
    while (status := browse.get("/monitor/events").status) == 504:  # it took the request, and ended before its answer
        pass
    assert status == 503


@pytest.mark.parametrize("kind", ["text", "recording"])
def test_frames_of_some_seconds_without_javascript(core, web, browse, tmp_path, kind):
    stream = Stream(web.port, f"/monitor/{kind}?seconds=3&text=SNIPPET", Cookie=browse.cookie)
    wait_until_watched(core)
    ask(core)
    data = stream.response.read()
    assert stream.response.status == 200
    if kind == "recording":
        assert stream.response.headers["Content-Disposition"] == 'attachment; filename="reed.frames"'
        (tmp_path / "reed.frames").write_bytes(data)
        data = core.reed("monitor", "--from-file", str(tmp_path / "reed.frames")).stdout.encode()
    lines = data.decode().splitlines()
    assert [line for line in lines if "SNIPPET_GET" in line and "ref=blog/<script>" in line]
    assert not [line for line in lines if "SYSTEM_STATS" in line]


def test_only_admins_watch(site, tmp_path):
    site.config.write_text(json.dumps({"groups": {"editor": {"permissions": ["system_stats"]}}}))
    site.start()
    web = WebProcess(
        site.runtime_dir,
        tmp_path,
        *("--user-header", "X-User", "--trusted-proxy", "127.0.0.1", "--group", "editor", "--group-header", "X-Group"),
    )
    for path in ("/monitor", "/monitor/events", "/monitor/text", "/monitor/recording"):
        refused = Stream(web.port, path, X_User="anna")
        assert refused.response.status == 403
        assert b"only the group admin" in refused.response.read()
    assert Stream(web.port, "/monitor", X_User="anna", X_Group="admin").response.status == 200
    assert web.end() == 0


def test_a_flood_of_frames_is_counted_and_not_shown(core, web, browse):
    stream = Stream(web.port, "/monitor/events?text=system_stats", Cookie=browse.cookie)
    wait_until_watched(core)
    over = threading.Event()

    def flood() -> None:
        client = core.client()
        while not over.is_set():
            client.stats()

    thread = threading.Thread(target=flood)
    thread.start()
    left_out = 0
    while not left_out:
        batch = stream.event()[1]
        assert len(batch["frames"]) <= 100
        left_out += batch["left_out"]
    over.set()
    thread.join()
    assert browse.get("/monitor").status == 200
    stream.connection.close()
