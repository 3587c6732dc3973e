"""Texts of errors in reed.yaml, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed import config
from reed.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_dri: x\n", "reed.yaml:1:1: data_dri: unknown key; did you mean 'data_dir'?"),
        (
            "timing:\n  call_timeuot: 3\n",
            "reed.yaml:2:3: timing.call_timeuot: unknown key; did you mean 'call_timeout'?",
        ),
        (
            "limits:\n  payload: lots\n",
            "reed.yaml:2:12: limits.payload: expected a size in bytes, or such as 64KB, 8MB, found 'lots'",
        ),
        ("limits: {connections: 0}\n", "reed.yaml:1:23: limits.connections: expected 1 to 1000000, found '0'"),
        (
            "limits: {connections: [1]}\n",
            "reed.yaml:1:23: limits.connections: expected a whole number from 1 to 1000000, found a list",
        ),
        ("limits: big\n", "reed.yaml:1:9: limits: expected a mapping, found 'big'"),
        (
            "timing: {stop_grace: soon}\n",
            "reed.yaml:1:22: timing.stop_grace: expected a time in seconds, or such as 250ms, 180s, 5m, found 'soon'",
        ),
        (
            "log_level: inof\n",
            "reed.yaml:1:12: log_level: expected debug or info or warning or error, found 'inof'; did you mean 'info'?",
        ),
        ("plugin_dirs: here\n", "reed.yaml:1:14: plugin_dirs: expected a list, found 'here'"),
        ("data_dir:\n", "reed.yaml:1:10: data_dir: expected a text, found nothing"),
        ("a: 1\na: 2\n", "reed.yaml:2:1: duplicate key 'a'; first on line 1"),
        (
            "groups: {Editor: {}}\n",
            "reed.yaml:1:10: groups.Editor: expected the name of a group: a-z, then a-z 0-9 _ -, found 'Editor'",
        ),
        ("- a\n", "reed.yaml:1:1: expected a mapping, found a list"),
        ("a: [1\n", "reed.yaml:2:1: is not YAML: did not find expected ',' or ']'"),
        ("a: *b\n", "reed.yaml:1:4: a: anchors and aliases are not supported"),
        (
            "a: !!python/object:os.system x\n",
            "reed.yaml:1:4: a: tags are not supported, found 'tag:yaml.org,2002:python/object:os.system'",
        ),
        ("a: 1\n---\nb: 2\n", "reed.yaml:2:1: a second document starts here; expected one"),
        ("? [a]\n: b\n", "reed.yaml:1:3: a key must be a plain word"),
        ("#" * 300_000, "reed.yaml: is larger than 256 KiB"),
        ("- a\n" * 1001, "reed.yaml:1001:3: has more than 1000 values"),
    ],
)
def test_errors_of_reed_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "reed.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path, {}, {})
    assert str(caught.value).removeprefix(f"{tmp_path}/") == message
