"""A real core: starts, refused starts, stops, and permissions on core.sock."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable

import pytest

from reed.client import Client
from reed.errors import CallError, CoreNotRunning, NotFound, PermissionDenied, StoreFull

AS_ROOT = os.geteuid() == 0
SEO = 'simple-seo,lua,{},1.2.0,"snippet_read","editor,admin",false,"SEO"'


def refusal(site, *flags: str) -> str:
    """The one line of a core that refuses to start."""
    ended = subprocess.run(site.command(*flags), cwd=site.root, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


def test_a_core_creates_its_files_and_removes_its_sockets(core):
    assert core.socket_path.is_socket()
    pid, _ = (core.runtime_dir / "pid" / "core.pid").read_text().split()
    assert int(pid) == core.process.pid
    assert core.stop() == 0
    assert not core.socket_path.exists()
    assert not (core.runtime_dir / "pid" / "core.pid").exists()
    core.no_tracebacks()


def test_a_second_core_on_the_same_folder_is_refused(core):
    line = refusal(core)
    assert f"another core (pid {core.process.pid})" in line
    with Client(core.socket_path) as client:
        client.stats()


def test_a_core_starts_after_kill_9(core):
    core.kill()
    assert core.socket_path.exists()
    core.start()
    with Client(core.socket_path) as client:
        client.stats()


def test_sigterm_during_the_start_and_sigint_stop_a_core(core):
    core.process.send_signal(signal.SIGINT)
    assert core.process.wait(10) == 0


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a folder of another user")
def test_a_runtime_folder_of_another_user_is_refused_in_one_line(site):
    site.runtime_dir.mkdir(mode=0o700)
    os.chown(site.runtime_dir, 12345, 12345)
    assert "belongs to user 12345" in refusal(site)


def test_a_bad_registry_row_is_refused_in_one_line_with_its_place(site):
    site.set_rows('simple-seo,lua,{},1.2.0,"snippet_reed","admin",false,"SEO"')
    line = refusal(site)
    assert f"{site.registry}:2:" in line
    assert "snippet_reed" in line
    assert "snippet_read" in line


def test_sighup_reloads_rows_and_an_invalid_file_changes_nothing(site):
    site.start()
    with Client(site.socket_path) as client:
        assert client.plugin_list() == []
        site.set_rows("this is no row")
        with pytest.raises(CallError, match=r"plugin-registry.csv:2") as refused:
            client.plugin_reload()
        assert refused.value.status == 422
        site.process.send_signal(signal.SIGHUP)
        site.set_rows(SEO)
        deadline = time.monotonic() + 10
        while not client.plugin_list():
            site.process.send_signal(signal.SIGHUP)
            assert time.monotonic() < deadline
        assert [row["name"] for row in client.plugin_list()] == ["simple-seo"]


def test_an_incomplete_plugin_does_not_keep_the_core_from_starting(site):
    site.add_lua_plugin("odd", "", "colour: red\n")
    site.set_rows(SEO.replace("simple-seo", "nowhere"), 'odd,lua,{},1.0.0,"","admin",true,"has an unknown key"')
    site.start()
    with Client(site.socket_path) as client:
        rows = {row["name"]: row for row in client.plugin_list()}
        assert rows["nowhere"]["state"] == "failed"
        assert "no folder of this plugin, nor is there " in rows["nowhere"]["reason"]
        assert rows["odd"]["state"] == "failed"
        assert "plugin.yaml:3:1" in rows["odd"]["reason"]
        assert "colour" in rows["odd"]["reason"]


def test_a_client_without_a_core_gets_a_hint(site):
    with pytest.raises(CoreNotRunning, match="reed start"):
        Client(site.socket_path).stats()
    assert site.reed("plugin", "list").returncode == 3


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_people_have_the_permissions_of_their_groups(site):
    site.config.write_text(
        "socket_group: users\ngroups:\n  editor: {users: [daemon], permissions: [snippet_read, search_read]}\n"
    )
    os.chmod(site.root, 0o755)
    for folder in site.root.parents:
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            os.chmod(folder, 0o755)
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", b"{}")
        client.snippet_create("page", "hello", b'{"a":1}')

    def as_daemon() -> None:
        with Client(site.socket_path) as client:
            assert bytes(client.snippet_get("hello").content) == b'{"a":1}'
            with pytest.raises(PermissionDenied, match="SNIPPET_UPDATE"):
                client.snippet_update("hello", b"{}")

    as_user("daemon", "users", as_daemon)
    assert "denied: daemon asked for SNIPPET_UPDATE" in site.log.read_text()


def test_a_core_without_descriptors_neither_spins_nor_ends(site):
    site.start("--log-level=error", wrapper=("prlimit", "--nofile=40:40"))
    crowd = []
    for _ in range(60):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(1)
        sock.connect(str(site.socket_path))
        crowd.append(sock)
    before = cpu_seconds(site.process.pid)
    time.sleep(1)  # the one thing that cannot be waited for by an event: that nothing happens
    assert cpu_seconds(site.process.pid) - before < 0.3
    for sock in crowd:
        sock.close()
    with Client(site.socket_path) as client:
        client.stats()
    assert "Too many open files" in site.log.read_text()
    site.no_tracebacks()


@pytest.mark.skipif(not AS_ROOT, reason="only root can mount a small tmpfs")
def test_a_full_disk_refuses_writes_with_507_and_recovers(site):
    site.data_dir.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", site.data_dir], check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        site.start()
        with Client(site.socket_path) as client:
            client.registry_define("page", b"{}")
            client.snippet_create("page", "kept", b'{"kept":true}')
            (site.data_dir / "ballast").write_bytes(bytes(1024 * 1024))
            with pytest.raises(StoreFull) as full:
                fill(client)
            assert full.value.status == 507
            assert bytes(client.snippet_get("kept").content) == b'{"kept":true}'
            assert client.stats()["store"]["snippets"] == len(list(client.snippets()))
            (site.data_dir / "ballast").unlink()
            client.snippet_create("page", "again", b"{}")
        assert site.stop() == 0
        site.no_tracebacks()
    finally:
        if site.process and site.process.poll() is None:
            site.kill()
        subprocess.run(["umount", site.data_dir], check=False)


def test_an_import_interrupted_by_kill_9_loses_no_acknowledged_page(site):
    site.start()
    acknowledged = []
    with Client(site.socket_path) as client:
        client.registry_define("page", b"{}")
        for number in range(300):
            acknowledged.append(client.snippet_create("page", f"p{number}", b'{"n":%d}' % number))
            if number == 200:
                site.process.kill()
                break
    site.process.wait()
    site.start()
    with Client(site.socket_path) as client:
        for number, snippet_id in enumerate(acknowledged):
            assert bytes(client.snippet_get(str(snippet_id)).content) == b'{"n":%d}' % number
        with pytest.raises(NotFound):
            client.snippet_get("p250")


def test_a_command_without_a_response_needs_its_permission_too(core):
    with Client(core.socket_path) as client, pytest.raises(PermissionDenied):
        client.call(0xF0, bytes(56))


def as_user(user: str, group: str, action: Callable[[], None]) -> None:
    """Run `action` in a process of that user; an exception fails the test."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(grp.getgrnam(group).gr_gid)
            os.setuid(pwd.getpwnam(user).pw_uid)
            action()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not continue as the test
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def fill(client: Client) -> None:
    while True:
        client.snippet_create("page", "", json.dumps({"body": "x" * 50_000}).encode())


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_stats_have_a_histogram_of_all_turns(site):
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", b"{}")
        client.snippet_create("page", "", b"{}")
        loop = client.stats()["loop"]
    assert sum(loop["histogram"]) == loop["turns"] > 0
    assert loop["disk_longest_ms"] > 0
