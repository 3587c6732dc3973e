"""What keeps others out of `reed web`: the link, the session, the name of the server, the tokens, the headers."""

from __future__ import annotations

import os
import signal
import socket
import stat
from urllib.parse import urlsplit

import pytest

from .conftest import Browse, WebProcess


def test_a_link_signs_in_once(web):
    first = Browse(web.port).get(urlsplit(web.link).path)
    assert first.status == 200
    cookie = first.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert Browse(web.port, cookie.partition(";")[0]).get("/").status == 200
    again = Browse(web.port).get(urlsplit(web.link).path)
    assert again.status == 403
    assert "it was used" in again.text
    assert "Set-Cookie" not in again.headers


def test_without_a_session_nothing_is_shown(web):
    answer = Browse(web.port).get("/")
    assert answer.status == 401
    assert "the link that `reed web` printed" in answer.text
    assert "Connections" not in answer.text
    assert Browse(web.port, f"reed-{web.port}=guessed").get("/").status == 401
    assert Browse(web.port).get("/sign-in/guessed").status == 403
    assert Browse(web.port).post("/sign-out", {"csrf": "guessed"}).status == 401


def test_a_session_ends_when_one_signs_out(web, browse):
    answer = browse.post("/sign-out")
    assert answer.status == 303
    assert browse.get("/").status == 401


def test_a_second_browser_is_signed_in_by_a_link_of_the_first(web, browse):
    page = browse.post("/links").text
    link = page.partition('<code class="link">')[2].partition("<")[0]
    assert link.startswith(f"{web.origin}/sign-in/")
    assert Browse(web.port).get(urlsplit(link).path).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_name_of_this_server_is_refused(web, browse, host):
    """DNS rebinding: a page of evil.example, whose name was changed to 127.0.0.1."""
    answer = browse.get("/", Host=host)
    assert answer.status == 421
    assert "<html" not in answer.text
    assert browse.get("/static/reed.css", Host=host).status == 421
    assert browse.post("/links", Host=host).status == 421


def test_localhost_is_a_name_of_this_server(web, browse):
    assert browse.get("/", Host=f"localhost:{web.port}").status == 200


def test_a_post_without_the_token_of_its_session_does_nothing(web, browse):
    other = web.browse()
    other.get("/")
    for token in ("", "guessed", other.get("/").csrf):
        answer = browse.post("/sign-out", {"csrf": token})
        assert answer.status == 403
        assert "CSRF" in answer.text
    assert browse.get("/").status == 200


def test_a_form_of_another_site_does_nothing(web, browse):
    assert browse.post("/sign-out", Origin="http://evil.example").status == 403
    assert browse.post("/sign-out", Origin="null").status == 403
    assert browse.post("/sign-out", Sec_Fetch_Site="cross-site").status == 403
    assert browse.post("/sign-out", Content_Type="text/plain").status == 415
    assert browse.get("/").status == 200
    assert browse.post("/sign-out", Origin=web.origin, Sec_Fetch_Site="same-origin").status == 303


@pytest.mark.parametrize("path", ["/", "/nothing-here", "/static/reed.css", "/sign-in/guessed"])
def test_every_answer_has_the_headers(web, browse, path):
    headers = browse.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Server" not in headers


def test_files_beside_the_static_ones_are_not_served(web, browse):
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
        assert browse.get(path).status == 404


def test_a_page_that_is_not_there_says_so_as_text(browse):
    answer = browse.get("/%3Cscript%3Ealert(1)%3C/script%3E")
    assert answer.status == 404
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "<script>alert" not in answer.text


def test_the_core_goes_and_comes_back(core, web, browse):
    core.stop()
    answer = browse.get("/")
    assert answer.status == 503
    assert "core not running" in answer.text
    assert answer.headers["Refresh"] == "5"
    away = browse.get("/", Accept="application/json")
    assert away.json["error"]["hint"] == "start it with: reed start"
    core.start()
    assert browse.get("/").status == 200


def test_the_core_works_while_the_server_is_flooded_and_after_it_is_killed(core, tmp_path):
    web = WebProcess(core.runtime_dir, tmp_path)
    flood = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(200)]
    for number, each in enumerate(flood):
        each.sendall(bytes([number]) * 1000)
    client = core.client()
    assert client.stats()["pid"] == core.pid
    web.browse().get("/")
    web.process.kill()
    web.end()
    assert client.stats()["pid"] == core.pid
    core.no_tracebacks()
    for each in flood:
        each.close()


def test_a_unix_socket_is_only_for_its_user_and_removed_at_the_end(core, tmp_path):
    path = tmp_path / "web.sock"
    web = WebProcess(core.runtime_dir, tmp_path, "--listen", f"unix:{path}")
    assert web.link.startswith("http://localhost/sign-in/")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert web.end() == 0
    assert not path.exists()


def test_a_unix_socket_that_was_left_is_used_again(core, tmp_path):
    path = tmp_path / "web.sock"
    web = WebProcess(core.runtime_dir, tmp_path, "--listen", f"unix:{path}")
    os.kill(web.process.pid, signal.SIGKILL)
    web.end()
    assert path.exists()
    again = WebProcess(core.runtime_dir, tmp_path, "--listen", f"unix:{path}")
    taken = core.reed("web", "--listen", f"unix:{path}")
    assert "cannot listen" in taken.stderr
    assert again.end() == 0


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("0.0.0.0:8420", "other machines reach"),
        ("8420", "invalid address"),
        ("127.0.0.1:70000", "invalid address"),
        ("unix:/nowhere/web.sock", "cannot listen on /nowhere/web.sock"),
    ],
)
def test_an_address_that_is_not_safe_or_not_possible_is_refused(core, address, problem):
    done = core.reed("web", "--listen", address)
    assert done.returncode == 1
    assert problem in done.stderr
