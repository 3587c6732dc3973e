"""`reed config show`: each setting with the file and line, variable or option that it comes from."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from reed.cli.config import HIDDEN
from reed.config import Config, Limits, Timing

YAML = """\
data_dir: content
log_level: debug
limits:
  payload: 8MB
groups:
  editor: {users: [anna], permissions: [snippet_read]}
plugins:
  ai-core:
    settings:
      url: "https://me:pass-phrase@host/x"
      key: bearer-1
      http: {retries: 3, auth_token: bearer-2}
      groups: [a, b]
    limits: {memory: 9MB}
"""


@pytest.fixture
def shown(reed, tmp_path):
    """Settings by name."""
    (tmp_path / "reed.yaml").write_text(YAML)

    def run(*words: str) -> dict:
        ran = reed("config", "show", "--json", *words)
        assert (ran.code, ran.err) == (0, "")
        found = json.loads(ran.out)
        assert found["file"] == str(tmp_path / "reed.yaml")
        return {each["name"]: each for each in found["settings"]}

    return run


def test_a_setting_names_its_line_variable_or_option(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("REED_LIMITS_PAYLOAD", "4MB")
    monkeypatch.setenv("REED_LOG_LEVEL", "error")
    found = shown("--log-level", "info")
    places = {name: (found[name]["value"], found[name]["source"], found[name]["place"]) for name in found}
    file = tmp_path / "reed.yaml"
    assert places["data_dir"] == (str(tmp_path / "content"), "file", f"{file}:1")
    assert places["limits.payload"] == (4 * 1024 * 1024, "variable", "REED_LIMITS_PAYLOAD")
    assert places["log_level"] == ("info", "option", "--log-level")
    assert places["limits.connections"] == (4096, "default", "")
    assert places["runtime_dir"] == (str(tmp_path / "none"), "variable", "REED_RUNTIME_DIR")
    assert places["groups.editor.users"] == (["anna"], "file", f"{file}:6")
    assert places["plugins.ai-core.settings.http"][1:] == ("file", f"{file}:12")
    assert places["plugins.ai-core.settings.groups"] == (["a", "b"], "file", f"{file}:13")
    assert places["plugins.ai-core.limits.memory"] == (9 * 1024 * 1024, "file", f"{file}:14")
    assert places["plugins.ai-core.limits.cpu"] == (None, "default", "")


def test_every_setting_is_shown(shown):
    found = shown()
    for each in fields(Config):
        below = {"limits": Limits, "timing": Timing}.get(each.name)
        for name in [f"{each.name}.{inner.name}" for inner in fields(below)] if below else [each.name]:
            assert any(key == name or key.startswith(f"{name}.") for key in found), name


def test_no_secret_is_shown(reed, shown):
    found = shown()
    assert found["plugins.ai-core.settings.key"]["value"] == HIDDEN
    assert found["plugins.ai-core.settings.http"]["value"] == {"retries": 3, "auth_token": HIDDEN}
    assert found["plugins.ai-core.settings.url"]["value"] == f"https://me:{HIDDEN}@host/x"
    for words in ([], ["--json"]):
        ran = reed("config", "show", *words)
        assert not [secret for secret in ("pass-phrase", "bearer-") if secret in ran.out + ran.err]
    refused = reed("config", "show", "--store", "postgres:host=db password=hunter2")
    assert refused.code == 1
    assert "hunter2" not in refused.out + refused.err


def test_a_pipe_gets_three_columns(reed, tmp_path, monkeypatch):
    monkeypatch.setenv("REED_LIMIT_PAYLOAD", "1")
    ran = reed("config", "show")
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert ["sandbox", '"auto"', "default"] in rows
    assert ["groups", "{}", "default"] in rows
    assert "unknown variable REED_LIMIT_PAYLOAD" in ran.err
    (tmp_path / "reed.yaml").write_text("data_dri: x\n")
    assert "reed.yaml:1:1" in reed("config", "show").err
