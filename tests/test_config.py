"""reed.yaml, REED_ variables and flags: what wins, and what a person reads when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed import config, document
from reed.errors import ConfigError, FileError
from reed.readers import record
from reed.supervision import discovery


def write(folder: Path, text: str) -> Path:
    path = folder / "reed.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(write(folder, text), {}, {})
    return str(caught.value).removeprefix(f"{folder}/")


def test_without_anything_the_defaults_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = config.load(None, {}, {})
    assert found.runtime_dir == Path("/tmp/reed-cms")
    assert found.data_dir == tmp_path / "data"
    assert found.registry == tmp_path / "plugin-registry.csv"
    assert found.plugin_dirs == (tmp_path / "plugins", tmp_path / "contrib/plugins", config.BUNDLED_PLUGINS)
    assert found.timing.start_deadline == 5
    assert found.limits.payload == 16 * 1024 * 1024


def test_flags_win_over_variables_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "data_dir: a\nlog_level: debug\nlimits: {payload: 1MB, connections: 7}\n")
    environ = {"REED_DATA_DIR": "/b", "REED_LIMITS_PAYLOAD": "2MB", "REED_PLUGIN_DIR": "/p:/q", "HOME": "/"}
    found = config.load(file, environ, {"data_dir": "/c", "log_level": None})
    assert found.data_dir == Path("/c")
    assert found.limits.payload == 2 * 1024 * 1024
    assert found.limits.connections == 7
    assert found.log_level == "debug"
    assert found.plugin_dirs[:2] == (Path("/p"), Path("/q"))
    assert config.load(file, {}, {}).data_dir == tmp_path / "a", "a path in a file is relative to the file"
    assert config.load(None, {"REED_CONFIG": str(file)}, {}).limits.connections == 7


def test_the_plugins_that_come_with_reed_are_always_found_and_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled, own = tmp_path / "bundled", tmp_path / "own"
    for folder in (bundled / "seo", bundled / "backup", own / "seo"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(config, "BUNDLED_PLUGINS", bundled)
    file = write(tmp_path, "plugin_dirs: [own]\n")
    first = write(tmp_path / "bundled", "plugin_dirs: [., ../own]\n")
    empty = write(own, "plugin_dirs: []\n")
    ways = [
        config.load(file, {}, {}),
        config.load(None, {"REED_PLUGIN_DIR": str(own)}, {}),
        config.load(None, {}, {"plugin_dirs": [str(own)]}),
        config.load(first, {}, {}),
    ]
    for found in ways:
        assert found.plugin_dirs == (own, bundled)
        assert discovery.find("seo", found.plugin_dirs) == own / "seo", "a person's own is taken first"
        assert discovery.find("backup", found.plugin_dirs) == bundled / "backup"
    assert config.load(empty, {}, {}).plugin_dirs == (bundled,)


def test_unknown_variables_are_found_with_the_nearest_known() -> None:
    known = {"REED_DATA_DIR", "REED_CONFIG", "REED_LIMITS_USER_CALLS", "REED_TIMING_STOP_GRACE", "REED_PLUGIN_DIR"}
    foreign = {"REED_SOCKET", "REED_PLUGIN_NAME", "REED_PAGES", "REED_TESTS_TARGET", "HOME", "REEDS"}
    assert config.unknown_variables(dict.fromkeys(known | foreign, "x")) == {}
    found = config.unknown_variables({"REED_DATADIR": "x", "REED_PLUGIN_DIRS": "x", "REED_QQQQ": ""})
    assert list(found) == ["REED_DATADIR", "REED_PLUGIN_DIRS", "REED_QQQQ"]
    assert "REED_DATA_DIR" in found["REED_DATADIR"]
    assert "REED_PLUGIN_DIR" in found["REED_PLUGIN_DIRS"]


def test_a_file_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "log_level: error\n")
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {}, {}).log_level == "error"


def test_times_and_sizes_are_numbers_or_have_a_unit(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
timing: {start_deadline: 250ms, call_timeout: 5m, health_interval: 1.5, stop_grace: "180s", term_grace: 1h}
limits: {payload: 65536, queued_bytes: 8MB}
plugins:
  ai-core:
    settings: {server: "http://localhost", retries: 3, ratio: 0.5, deep: {list: [true, null, "1"]}, empty: {}}
    limits: {memory: 64 MiB, cpu: 10s, calls: 5}
""",
    )
    found = config.load(file, {}, {})
    timing = found.timing
    assert (timing.start_deadline, timing.call_timeout, timing.health_interval) == (0.25, 300, 1.5)
    assert (timing.stop_grace, timing.term_grace) == (180, 3600)
    assert (found.limits.payload, found.limits.queued_bytes) == (65536, 8 * 1024 * 1024)
    plugin = found.plugin("ai-core")
    deep = {"list": [True, None, "1"]}
    expected = {"server": "http://localhost", "retries": 3, "ratio": 0.5, "deep": deep, "empty": {}}
    assert plugin.settings == expected
    assert plugin.limits == config.PluginLimits(memory=64 * 1024 * 1024, cpu=10, calls=5)
    assert found.plugin("unknown") == config.PluginConfig()


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("data_dri: x\n", "1:1", "data_dri: unknown key; did you mean 'data_dir'?"),
        ("timing:\n  call_timeuot: 3\n", "2:3", "timing.call_timeuot: unknown key; did you mean 'call_timeout'?"),
        (
            "limits:\n  payload: lots\n",
            "2:12",
            "limits.payload: expected a size in bytes, or such as 64KB, 8MB, found 'lots'",
        ),
        ("limits: {connections: 0}\n", "1:23", "limits.connections: expected 1 to 1000000, found '0'"),
        (
            "limits: {connections: [1]}\n",
            "1:23",
            "limits.connections: expected a whole number from 1 to 1000000, found a list",
        ),
        ("limits: big\n", "1:9", "limits: expected a mapping, found 'big'"),
        (
            "timing: {stop_grace: soon}\n",
            "1:22",
            "timing.stop_grace: expected a time in seconds, or such as 250ms, 180s, 5m, found 'soon'",
        ),
        (
            "log_level: inof\n",
            "1:12",
            "log_level: expected debug or info or warning or error, found 'inof'; did you mean 'info'?",
        ),
        ("plugin_dirs: here\n", "1:14", "plugin_dirs: expected a list, found 'here'"),
        ("data_dir:\n", "1:10", "data_dir: expected a text, found nothing"),
        ("a: 1\na: 2\n", "2:1", "duplicate key 'a'; first on line 1"),
        (
            "groups: {Editor: {}}\n",
            "1:10",
            "groups.Editor: expected the name of a group: a-z, then a-z 0-9 _ -, found 'Editor'",
        ),
        ("- a\n", "1:1", "expected a mapping, found a list"),
        ("a: [1\n", "2:1", "is not YAML: did not find expected ',' or ']'"),
        ("a: *b\n", "1:4", "a: anchors and aliases are not supported"),
        (
            "a: !!python/object:os.system x\n",
            "1:4",
            "a: tags are not supported, found 'tag:yaml.org,2002:python/object:os.system'",
        ),
        ("a: 1\n---\nb: 2\n", "2:1", "a second document starts here; expected one"),
        ("? [a]\n: b\n", "1:3", "a key must be a plain word"),
        ("a: " + "[" * 40, "1:35", "a" + "[0]" * 31 + ": nested deeper than 32"),
        ("#" * 300_000, "", "is larger than 256 KiB"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, place: str, message: str) -> None:
    assert complaint(tmp_path, text) == ("reed.yaml:" + place).rstrip(":") + ": " + message


def test_wrong_variables_and_flags_name_themselves() -> None:
    with pytest.raises(ConfigError, match=r"^REED_LOG_LEVEL: expected debug .*, found 'loud'$"):
        config.load(None, {"REED_LOG_LEVEL": "loud"}, {})
    with pytest.raises(ConfigError, match=r"^--limits-payload: expected a size .*, found 'x'$"):
        config.load(None, {}, {"limits.payload": "x"})


def test_a_missing_or_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory"):
        config.load(tmp_path / "none.yaml", {}, {})
    (tmp_path / "latin.yaml").write_bytes(b"data_dir: x\nlog_level: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin.yaml:2:12: is not UTF-8"):
        config.load(tmp_path / "latin.yaml", {}, {})


YAML_PIECES = st.sampled_from(
    [
        "limits",
        "groups",
        "plugins",
        "payload",
        ": ",
        "\n",
        "  ",
        "- ",
        *"[]{},'\"#\t\x00é",
        "&a ",
        "*a",
        "!t ",
        "---\n",
        "null",
        "8MB",
        "|\n",
        "? ",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(YAML_PIECES, max_size=25).map("".join)))
def test_any_text_is_read_or_refused(source: str) -> None:
    try:
        node = document.parse(source, "x.yaml", ConfigError)
        record(config.Config)(node)
    except FileError as error:
        said = str(error)
    else:
        said = "x.yaml"
    assert said.startswith("x.yaml")


def test_the_log_file_is_stderr_or_a_path_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, ""), {}, {}).log_file is None
    file = write(tmp_path, "log_file: logs/core.log\nlimits: {log_bytes: 1MB, log_lines: 7}\n")
    found = config.load(file, {}, {})
    assert found.log_file == tmp_path / "logs/core.log"
    assert (found.limits.log_bytes, found.limits.log_lines) == (1024 * 1024, 7)
    assert config.load(file, {"REED_LOG_FILE": "/a"}, {}).log_file == Path("/a")
    assert config.load(file, {"REED_LOG_FILE": "/a"}, {"log_file": "/b"}).log_file == Path("/b")
