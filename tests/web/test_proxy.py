"""Users that a proxy names: the core gives their connections the permissions of their group, and no others."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from reed.client import Client

from .conftest import Browse, WebProcess

PERMISSIONS = {"editor": ["snippet_read", "system_stats"], "guest": []}


@pytest.fixture
def core(site):
    site.config.write_text(json.dumps({"groups": {name: {"permissions": each} for name, each in PERMISSIONS.items()}}))
    return site.start()


@pytest.fixture
def start(core, tmp_path):
    started = []

    def run(*options: str) -> WebProcess:
        started.append(WebProcess(core.runtime_dir, tmp_path, "--user-header", "X-User", *options))
        return started[-1]

    yield run
    for web in started:
        assert web.end() == 0
        assert "Traceback" not in web.log.read_text(), web.log.read_text()


def test_a_user_has_the_permissions_of_the_group(core, start):
    web = start("--trusted-proxy", "127.0.0.1", "--group", "guest", "--group-header", "X-Group")
    assert web.link == f"{web.origin}/"
    client = Browse(web.port)
    answer = client.get("/", X_User="anna", X_Group="editor")
    assert answer.status == 200
    assert "as anna of the group editor" in answer.text
    refused = client.get("/", X_User="anna")
    assert refused.status == 403
    assert "ERR_PERMISSION_DENIED" in refused.text
    unknown = client.get("/", X_User="anna", X_Group="nobody")
    assert unknown.status == 404
    assert "no group" in unknown.text
    assert "editor, guest" in unknown.text


def test_a_user_who_may_only_read_snippets_reads_them_and_keeps_what_was_typed(core, start):
    with Client(core.socket_path) as client:
        client.registry_define("page", {"schema": {"type": "object"}})
        path = f"/content/snippets/{client.snippet_create('page', 'home', {'title': 'T'})}"
    client = Browse(start("--trusted-proxy", "127.0.0.1", "--group", "editor").port)
    for page in ("/content", path, f"{path}/json", f"{path}/delete"):
        answer = client.get(page, X_User="anna")
        assert answer.status == 200, answer.text
        assert "home" in answer.text
    client.cookie = answer.headers.get("Set-Cookie", client.cookie).partition(";")[0]
    client.csrf = client.get(path, X_User="anna").csrf
    fields = {"base": '{"title":"T"}', "version": "1", "type": "page", "/title": "Typed by Anna"}
    answer = client.post(path, fields, X_User="anna")
    assert answer.status == 403
    assert "snippet_write" in answer.text
    assert 'value="Typed by Anna"' in answer.text


def test_users_do_not_share_sessions(start):
    web = start("--trusted-proxy", "127.0.0.1", "--group", "editor")
    client = Browse(web.port)
    anna = client.get("/", X_User="anna")
    client.cookie = anna.headers["Set-Cookie"].partition(";")[0]
    again = client.get("/", X_User="anna")
    assert again.csrf == anna.csrf
    assert "Set-Cookie" not in again.headers
    bob = client.get("/", X_User="bob")
    assert bob.csrf != anna.csrf
    assert client.post("/nothing", {"csrf": anna.csrf}, X_User="bob").status == 403
    assert client.post("/nothing", {"csrf": anna.csrf}, X_User="anna").status == 404


def test_names_are_believed_only_from_the_proxy(start):
    web = start("--trusted-proxy", "192.0.2.0/24", "--group", "editor")
    answer = Browse(web.port).get("/", X_User="anna")
    assert answer.status == 403
    assert "not that of the proxy" in answer.text


def test_a_request_without_a_name_or_with_two_is_refused(start):
    web = start("--trusted-proxy", "127.0.0.1", "--group", "editor")
    assert Browse(web.port).get("/").status == 401
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.putrequest("GET", "/")
    connection.putheader("X-User", "anna")
    connection.putheader("X-User", "root")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_links_do_not_sign_in(start):
    web = start("--trusted-proxy", "127.0.0.1", "--group", "editor")
    assert Browse(web.port).get("/sign-in/guessed", X_User="anna").status == 404


def test_a_cookie_that_came_over_tls_stays_there(start):
    web = start("--trusted-proxy", "127.0.0.1", "--group", "editor")
    answer = Browse(web.port).get("/", X_User="anna", X_Forwarded_Proto="https")
    assert answer.headers["Set-Cookie"].endswith("; Secure")


def test_over_a_unix_socket(start, tmp_path):
    path = tmp_path / "web.sock"
    start("--listen", f"unix:{path}", "--trusted-proxy", "unix", "--group", "editor", "--host", "cms.example.org")
    connection = http.client.HTTPConnection("cms.example.org")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/", headers={"X-User": "Zoë".encode().decode("latin-1")})
    response = connection.getresponse()
    assert response.status == 200
    assert "as Zoë of the group editor" in response.read().decode()
    connection.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--group", "editor"), "--group needs --user-header"),
        (("--user-header", "X-User", "--group", "editor"), "requires the address of the proxy"),
        (("--user-header", "X-User", "--trusted-proxy", "127.0.0.1"), "requires the group"),
        (("--user-header", "X-User", "--trusted-proxy", "unix", "--group", "editor"), "do not fit each other"),
        (("--user-header", "X-User", "--trusted-proxy", "nginx", "--group", "editor"), "--trusted-proxy nginx"),
        (("--socket-group", "nogroup"), "--socket-group needs --listen unix:PATH"),
    ],
)
def test_options_that_would_let_in_anybody_are_refused(core, options, problem):
    done = core.reed("web", "--listen", "127.0.0.1:0", *options)
    assert done.returncode in {1, 2}
    assert problem in done.stderr
