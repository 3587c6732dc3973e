"""The setting `store`: what it accepts, and that no password is accepted or shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reed
from reed import config
from reed.errors import ConfigError, ReedError
from reed.store.setting import StoreSetting, parse

SECRET = "s3cr3t"

with_a_password = [
    f"postgres:host=db password={SECRET}",
    f"postgres:host=db password = '{SECRET} x'",
    f"postgres:PassWord={SECRET}",
    f"postgres:host=db sslkey=k sslpassword={SECRET}",
    f"postgres:host=db scram_client_key={SECRET}",
    f"postgresql://reed:{SECRET}@db/reed",
    f"postgres://reed:{SECRET}@db/reed",
    f"postgresql://reed:?{SECRET}@db/reed",
    f"postgres:postgresql://reed:{SECRET}@db1,db2/reed?sslmode=verify-full",
    f"postgresql://db/reed?user=reed&password={SECRET}",
    f"postgresql://db/reed?%70assword={SECRET}",
    f"postgresql://db/reed? password ={SECRET}",
]
# A password in the wrong place, which libpq or a reader of the log would show.
misplaced = [
    f"postgresql://reed:pa/{SECRET}@db/reed",
    f"postgresql://reed:{SECRET}",
    f"postgresql://reed?{SECRET}@db@db2",
    f"postgres:dbname=postgresql://reed:{SECRET}@db/reed",
    f"postgres:dbname='password={SECRET}'",
    f"postgres:host=reed:{SECRET}@db",
    f"postgres:host=db '{SECRET}",
    f"postgres:{SECRET}",
    f"mysql://reed:{SECRET}@db/reed",
    f"{SECRET}:x",
    f"sqlite:{SECRET}",
]


@pytest.mark.parametrize("text", with_a_password)
def test_a_password_is_refused_and_not_printed(text: str, tmp_path: Path) -> None:
    file = tmp_path / "reed.yaml"
    file.write_text(f'log_level: info\nstore: "{text}"\n')
    with pytest.raises(ConfigError) as caught:
        config.load(file, {}, {})
    message = str(caught.value)
    assert message.startswith(f"{file}:2:8: store: ")
    assert "PGPASSFILE" in message
    assert "PGSERVICEFILE" in message
    assert SECRET not in message


@pytest.mark.parametrize("text", misplaced)
def test_what_may_be_a_password_is_not_printed(text: str) -> None:
    with pytest.raises(ReedError) as caught:
        parse(text)
    assert SECRET not in str(caught.value).replace(f"found {SECRET!r}", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite", "sqlite"),
        ("postgres:service=reed", "postgres:service=reed"),
        ("postgres:", "postgres:"),
        (" postgres: host = db1,db2 port=5433 user=reed dbname = 'my reed' ", "postgres:host=db1,db2 dbname=my reed"),
        (r"postgres:dbname='it\'s' host=/run/pg", "postgres:host=/run/pg dbname=it's"),
        (r"postgres:dbname=a\ b options='-c x=1'", "postgres:dbname=a b"),
        ("postgres:dbname= reed host=db", "postgres:host=db dbname=reed"),
        ("postgres:host=db dbname=", "postgres:host=db"),
        ("postgres:host=@abstract", "postgres:host=@abstract"),
        ("postgresql://reed@db1:5433,db2/reed?sslmode=verify-full", "postgres:host=db1,db2 dbname=reed"),
        ("postgres:postgresql:///reed?host=/run/pg", "postgres:host=/run/pg dbname=reed"),
        ("postgres://[::1]:5432/r%65ed", "postgres:host=::1 dbname=reed"),
        ("postgresql://", "postgres:"),
    ],
)
def test_the_printed_form_names_host_and_database(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("postgers:service=reed", "did you mean 'postgres'"),
        ("postgres", "found 'postgres'"),
        ("", "expected sqlite or postgres:CONNINFO"),
        ("sqlite:data", "data_dir"),
        ("postgres:host=db nonsense", "malformed at its character 9"),
        ("postgres:host='db", "malformed at its character 1"),
        ("postgresql://db:port/reed", "the URI is malformed"),
        ("postgres:host=a\0b", "NUL"),
    ],
)
def test_an_invalid_setting_says_what_is_expected(text: str, problem: str) -> None:
    with pytest.raises(ReedError) as caught:
        parse(text)
    assert problem in str(caught.value)


VALUES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(VALUES, st.sampled_from(["'{}'", "{}"]))
def test_a_parameter_is_read_as_libpq_reads_it(value: str, quotes: str) -> None:
    pq = pytest.importorskip("psycopg.pq")
    special = "\\'" + ("" if quotes != "{}" else " \t\n\r\v\f")
    written = "".join(f"\\{each}" if each in special else each for each in value)
    conninfo = f"dbname={quotes.format(written)} host=db"
    (expected,) = [option.val for option in pq.Conninfo.parse(conninfo.encode()) if option.keyword == b"dbname"]
    assert expected == value.encode()
    if "=" in value or "://" in value:
        with pytest.raises(ReedError, match="dbname is a connection string"):
            parse(f"postgres:{conninfo}")
    else:
        assert str(parse(f"postgres:{conninfo}")) == f"postgres:host=db dbname={value}"


@settings(deadline=None)
@given(st.text(st.sampled_from("ab:/@?=&,[]%' \\password")))
def test_no_text_that_libpq_finds_a_password_in_is_accepted(text: str) -> None:
    pq, error = pytest.importorskip("psycopg.pq"), pytest.importorskip("psycopg").OperationalError
    for conninfo in (f"postgresql://{text}", f"host={text}", text):
        try:
            found = {each.keyword: each.val for each in pq.Conninfo.parse(conninfo.encode()) if each.val is not None}
        except error:
            continue
        if found.get(b"password"):
            with pytest.raises(ReedError):
                parse(f"postgres:{conninfo}")


def test_a_flag_wins_over_the_variable_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "reed.yaml"
    file.write_text("store: postgres:service=file\n")
    environ = {"REED_STORE": "postgres:service=variable"}
    assert config.load(None, {}, {}).store == StoreSetting("sqlite")
    assert config.load(file, {}, {}).store.conninfo == "service=file"
    assert config.load(file, environ, {}).store.conninfo == "service=variable"
    assert config.load(file, environ, {"store": "sqlite"}).store == StoreSetting("sqlite")
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"REED_STORE": f"postgresql://a:{SECRET}@b"}, {})
    assert str(caught.value).startswith("REED_STORE: password is not allowed")


CORE = """
import logging, sys
from reed.config import load
from reed.daemon import Daemon
from reed.serve import check
without, command, *flags = sys.argv[1:]
if without:
    sys.modules[without] = None  # as if it were not installed
config = load(None, {}, dict(flag.split("=", 1) for flag in flags))
try:
    if command == "open":
        Daemon(config, logging.getLogger("reed")).close()
    else:
        check(config, {})
except Exception as error:
    print(error)
print(*(name for name in sorted(sys.modules) if "postgres" in name or "psycopg" in name or "sqlite" in name))
"""


def run_core(folder: Path, command: str, store: str, without: str = "") -> str:
    """Open a core and close it, or `check`; its error, and the modules of stores that it has imported."""
    (folder / "plugin-registry.csv").write_text(
        "plugin_name,plugin_type,socket_path,version,required_permissions,user_groups,auto_start,description\n"
    )
    flags = [f"runtime_dir={folder / 'run'}", f"store={store}"]
    words = [sys.executable, "-P", "-c", CORE, without, command, *flags]
    environ = {**os.environ, "PYTHONPATH": str(Path(reed.__file__).parent.parent)}
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout


def test_a_core_imports_only_the_store_that_it_uses(tmp_path: Path) -> None:
    found = run_core(tmp_path, "open", "sqlite")
    assert "reed.store.sqlite.store" in found
    assert "postgres" not in found
    assert "psycopg" not in found
    assert (tmp_path / "data/content.db").exists()


@pytest.mark.parametrize("command", ["open", "check"])
def test_a_core_without_the_driver_says_what_to_install(tmp_path: Path, command: str) -> None:
    found = run_core(tmp_path, command, "postgres:host=db dbname=reed", without="psycopg")
    assert "store postgres:host=db dbname=reed: the package psycopg is not installed" in found
    assert "pip install 'reed-cms[postgres]'" in found
    assert not (tmp_path / "data/content.db").exists()
