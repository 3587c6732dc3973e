"""The example plugins: those without an SDK, with the bytes on their page, and those of the crate."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import reed
from reed.wire import frames
from reed.wire.codes import Flag, Signal
from reed.wire.common import ErrorResponse, JsonResponse
from reed.wire.plugins import PluginAnswer, PluginRegister
from reed.wire.requests import SignalMessage

CONTRIB = Path(__file__).parents[2] / "contrib"
PAGE = (CONTRIB / "docs" / "guide" / "plugin-without-sdk.md").read_text(encoding="utf-8")
REGISTERED = b'{"settings":{},"permissions":[],"limits":{"payload":16777216}}'
FRAMES = {
    "register": (0xF0, PluginRegister("hello-c", "1.0.0", 4242, b'{"actions":{"shout":{"command_id":1}}}').pack(), 0),
    "registered": (0xF0, JsonResponse(200, REGISTERED).pack(), Flag.RESPONSE),
    "READY": (0xF3, SignalMessage(Signal.PLUGIN_READY, 1_700_000_000_123_456, "hello-c", b"").pack(), Flag.SIGNAL),
    "call": (1, b"hello", 0),
    "answer": (1, PluginAnswer(200, b"HELLO").pack(), Flag.RESPONSE),
    "failure": (2, ErrorResponse(501, 20003, "no action 2").pack(), Flag.RESPONSE | Flag.ERROR),
}


def test_the_bytes_on_the_page_are_frames() -> None:
    lines = re.findall(r"^ {4}((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}.*)?$", PAGE, re.MULTILINE)
    shown = bytes.fromhex(" ".join(lines))
    assert shown == b"".join(frames.encode(*frame) for frame in FRAMES.values())


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("examples") / "plugins"
    shutil.copytree(CONTRIB / "examples", folder)
    return folder


@pytest.fixture(scope="module")
def hello_c(examples: Path) -> Path:
    if not (shutil.which("gcc") and shutil.which("make")):
        pytest.skip("gcc and make are not installed")
    folder = examples / "hello-c"
    subprocess.run(
        ["make", "-s", "CC=gcc", "CFLAGS=-std=c11 -O2 -Wall -Wextra -Wpedantic -Werror"], cwd=folder, check=True
    )
    return folder


@pytest.fixture(scope="module")
def hello_python(examples: Path) -> Path:
    if not shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin"):
        pytest.skip("no python3 in /usr/local/bin, /usr/bin or /bin")
    return examples / "hello-python"


def rows(site) -> None:
    site.set_rows(
        'hello-c,native,{},1.0.0,"","editor,admin",false,""', 'hello-python,native,{},1.0.0,"","editor,admin",false,""'
    )


@pytest.mark.parametrize("name", ["hello-c", "hello-python"])
def test_an_example_passes_every_check(site, request, name: str) -> None:
    folder = request.getfixturevalue(name.replace("-", "_"))
    rows(site)
    done = site.reed("plugin", "test", name, f"--plugin-dir={folder.parent}", "--json")
    report = json.loads(done.stdout)
    assert report["passed"], done.stdout
    assert done.returncode == 0
    results = {check["name"]: check["result"] for check in report["checks"]}
    assert {name for name, result in results.items() if result == "skipped"} == {"messages", "tests"}
    assert results["shutdown"] == results["health"] == results["signal wake"] == "ok"


def test_a_user_calls_the_c_plugin(site, hello_c: Path) -> None:
    rows(site)
    site.start(f"--plugin-dir={hello_c.parent}")
    assert site.reed("plugin", "start", "hello-c").returncode == 0
    assert site.reed("plugin", "send", "hello-c", "shout", "as it stands").stdout == "AS IT STANDS\n"
    assert site.reed("plugin", "stop", "hello-c").returncode == 0


def test_the_python_plugin_survives_a_refused_call(site, hello_python: Path) -> None:
    rows(site)
    site.start(f"--plugin-dir={hello_python.parent}")
    assert site.reed("plugin", "start", "hello-python").returncode == 0
    refused = site.reed("plugin", "send", "hello-python", "greet", "{}")
    assert refused.returncode == 1
    assert 'expected {"name"' in refused.stderr
    answer = site.reed("plugin", "send", "hello-python", "greet", '{"name": "Zoë"}')
    assert json.loads(answer.stdout) == {"greeting": "Hello, Zoë!"}


# The examples of the crate reed-plugin.

MANIFESTS = {
    "hello": "actions: {greet: {command_id: 1, example: {name: Ada}}}\n",
    "notebook": "actions: {notes: {command_id: 1, example: {}}, tell: {command_id: 2}}\n",
}


@pytest.fixture
def crate(site, cargo_build):
    """A site with both examples as plugins."""
    built = cargo_build(Path(reed.__file__).parent / "rust", "--examples") / "examples"
    for name, manifest in MANIFESTS.items():
        folder = site.root / "plugins" / name
        folder.mkdir()
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{manifest}")
        shutil.copy2(built / name, folder / name)
    site.set_rows(*(f'{name},native,{{}},1.0.0,"","admin",true,""' for name in MANIFESTS))
    return site


@pytest.mark.parametrize("name", MANIFESTS)
def test_an_example_of_the_crate_passes_every_check(crate, name: str) -> None:
    report = json.loads(crate.reed("plugin", "test", name, "--json").stdout)
    assert report["passed"], report


def test_the_examples_of_the_crate_run(crate) -> None:
    crate.start()
    assert crate.reed("plugin", "start", *MANIFESTS).returncode == 0
    greeted = crate.reed("plugin", "send", "hello", "greet", '{"name": "Ada"}')
    assert "Ada" in greeted.stdout, greeted.stderr
    assert crate.reed("plugin", "send", "notebook", "notes", "{}").stdout == "[]\n"
    refused = crate.reed("plugin", "send", "notebook", "tell", '{"plugin": "hello", "note": 1}')
    assert refused.returncode == 1  # hello has no handler for notes and sends ERROR through the FIFO
    assert "hello" in refused.stderr
