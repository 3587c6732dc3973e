"""/metrics of `reed web`: who may read it, and what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.metrics import CONTENT_TYPE

from .conftest import Browse, WebProcess

parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="pip install prometheus_client")

TOKEN = "0123456789abcdef-token"


@pytest.fixture
def with_token(core, tmp_path: Path) -> Iterator[WebProcess]:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    web = WebProcess(core.runtime_dir, tmp_path, "--metrics-token-file", str(file))
    yield web
    assert web.end() == 0
    assert "Traceback" not in web.log.read_text(), web.log.read_text()


def families(text: str) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in parser.text_string_to_metric_families(text)}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_person_who_is_signed_in_reads_the_metrics(web, browse) -> None:
    answer = browse.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    found = families(answer.text)
    assert found["reed_up"] == 1
    assert found["reed_turn_seconds"] >= 0
    assert Browse(web.port).get("/metrics").status == 401
    assert Browse(web.port).get("/metrics", Authorization="Bearer ").status == 401, "without the option no token does"


def test_the_token_opens_the_metrics_and_nothing_else(with_token) -> None:
    browse = Browse(with_token.port)
    assert families(browse.get("/metrics", **bearer(TOKEN)).text)["reed_up"] == 1
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "ü" * 20):
        assert browse.get("/metrics", **bearer(wrong)).status == 401
    assert browse.get("/metrics", Authorization=f"Basic {TOKEN}").status == 401
    assert browse.get("/metrics").status == 401
    for path in ("/", "/plugins", "/metrics/", "//metrics", "/metrics/../", "/metrics%2f.."):
        assert browse.get(path, **bearer(TOKEN)).status in {401, 404}, path
    assert browse.post("/metrics", {"csrf": "x"}, **bearer(TOKEN)).status == 401
    assert browse.get("/metrics", Host="evil.example", **bearer(TOKEN)).status == 421


def test_a_core_that_is_away_is_down(core, with_token) -> None:
    core.stop()
    answer = Browse(with_token.port).get("/metrics", **bearer(TOKEN))
    assert (answer.status, families(answer.text)) == (200, {"reed_up": 0})


@pytest.mark.parametrize("text", ["", "short", "a" * 15, "ü" * 20, "a" * 20 + "\n" + "b" * 20])
def test_a_file_without_a_token_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    command = [sys.executable, "-m", "reed", "web", "--listen", "127.0.0.1:0", "--metrics-token-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "token: expected a token of at least 16 ASCII characters on one line; openssl rand" in done.stderr
