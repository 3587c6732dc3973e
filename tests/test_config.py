"""reed.yaml, REED_ variables and flags: which wins, and where an error is."""

from __future__ import annotations

import os
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


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = config.load(None, {}, {})
    assert found.runtime_dir == Path("/tmp/reed-cms")
    assert found.data_dir == tmp_path / "data"
    assert found.registry == tmp_path / "plugin-registry.csv"
    assert found.plugin_dirs == (tmp_path / "plugins", tmp_path / "contrib/plugins", config.BUNDLED_PLUGINS)
    assert found.timing.start_deadline == 5
    assert found.limits.payload == 16 * 1024 * 1024


def test_flags_override_variables_and_variables_override_the_file(tmp_path: Path) -> None:
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


def test_bundled_plugins_are_always_found_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        assert discovery.find("seo", found.plugin_dirs) == own / "seo", "the first folder wins"
        assert discovery.find("backup", found.plugin_dirs) == bundled / "backup"
    assert config.load(empty, {}, {}).plugin_dirs == (bundled,)


def test_unknown_variables_get_the_nearest_known_one() -> None:
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


def test_times_and_sizes_may_have_units(tmp_path: Path) -> None:
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
    ("text", "line", "column", "field"),
    [
        ("data_dri: x\n", 1, 1, "data_dri"),
        ("timing:\n  call_timeuot: 3\n", 2, 3, "timing.call_timeuot"),
        ("limits:\n  payload: lots\n", 2, 12, "limits.payload"),
        ("limits: {connections: 0}\n", 1, 23, "limits.connections"),
        ("limits: {connections: [1]}\n", 1, 23, "limits.connections"),
        ("limits: big\n", 1, 9, "limits"),
        ("timing: {stop_grace: soon}\n", 1, 22, "timing.stop_grace"),
        ("log_level: inof\n", 1, 12, "log_level"),
        ("plugin_dirs: here\n", 1, 14, "plugin_dirs"),
        ("data_dir:\n", 1, 10, "data_dir"),
        ("a: 1\na: 2\n", 2, 1, ""),
        ("groups: {Editor: {}}\n", 1, 10, "groups.Editor"),
        ("- a\n", 1, 1, ""),
        ("a: [1\n", 2, 1, ""),
        ("a: *b\n", 1, 4, "a"),
        ("a: !!python/object:os.system x\n", 1, 4, "a"),
        ("a: 1\n---\nb: 2\n", 2, 1, ""),
        ("? [a]\n: b\n", 1, 3, ""),
        ("a: " + "[" * 40, 1, 35, "a" + "[0]" * 31),
        ("#" * 300_000, 0, 0, ""),
    ],
)
def test_an_error_names_line_column_and_field(tmp_path: Path, text: str, line: int, column: int, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, text), {}, {})
    error = caught.value
    assert (error.path, error.line, error.column) == (str(tmp_path / "reed.yaml"), line, column)
    assert not field or error.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("data_dri: x\n", "data_dir"),
        ("timing:\n  call_timeuot: 3\n", "call_timeout"),
        ("log_level: inof\n", "info"),
    ],
)
def test_the_hint_of_an_error_is_the_nearest_word(tmp_path: Path, text: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, text), {}, {})
    assert repr(nearest) in caught.value.hint


def test_an_error_names_the_variable_or_flag() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"REED_LOG_LEVEL": "loud"}, {})
    assert (caught.value.path, caught.value.line) == ("REED_LOG_LEVEL", 0)
    with pytest.raises(ConfigError) as caught:
        config.load(None, {}, {"limits.payload": "x"})
    assert (caught.value.path, caught.value.line) == ("--limits-payload", 0)


def test_a_missing_or_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "none.yaml", {}, {})
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "none.yaml"), 0)
    (tmp_path / "latin.yaml").write_bytes(b"data_dir: x\nlog_level: \xe9\n")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "latin.yaml", {}, {})
    assert (caught.value.line, caught.value.column) == (2, 12)


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
def test_any_text_is_read_or_raises_file_error(source: str) -> None:
    try:
        node = document.parse(source, "x.yaml", ConfigError)
        record(config.Config)(node)
    except FileError as error:
        said = str(error)
    else:
        said = "x.yaml"
    assert said.startswith("x.yaml")


def test_the_log_file_is_relative_to_reed_yaml(tmp_path: Path) -> None:
    assert config.load(write(tmp_path, ""), {}, {}).log_file is None
    file = write(tmp_path, "log_file: logs/core.log\nlimits: {log_bytes: 1MB, log_lines: 7}\n")
    found = config.load(file, {}, {})
    assert found.log_file == tmp_path / "logs/core.log"
    assert (found.limits.log_bytes, found.limits.log_lines) == (1024 * 1024, 7)
    assert config.load(file, {"REED_LOG_FILE": "/a"}, {}).log_file == Path("/a")
    assert config.load(file, {"REED_LOG_FILE": "/a"}, {"log_file": "/b"}).log_file == Path("/b")


@pytest.mark.parametrize("name", ["runtime_dir", "data_dir", "registry", "plugin_dirs", "log_file"])
def test_a_path_that_is_not_utf_8_is_refused(name: str) -> None:
    """The core would start, and fail whenever it has to name the path in an answer."""
    path = os.fsdecode(b"/tmp/caf\xe9")
    with pytest.raises(ConfigError, match=r"caf\\xe9: this path is not UTF-8"):
        config.load(None, {}, {name: [path] if name == "plugin_dirs" else path})
    assert config.load(None, {}, {"data_dir": "/tmp/café"}).data_dir == Path("/tmp/café")


def test_a_working_directory_that_is_not_utf_8_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(None, {}, {})
