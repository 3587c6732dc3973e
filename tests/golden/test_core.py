"""The exact texts of errors in the core, one of each kind; other tests assert class, status and fields."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from reed.config import Limits
from reed.core.call_queue import status_error
from reed.core.calls import Caller
from reed.core.connect_rate import ConnectRates
from reed.core.filter_result import filter_result
from reed.core.quotas import Quotas
from reed.core.runtime_folder import RuntimeFolder
from reed.errors import CallError, ReedError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog

SEO = Caller("plugin seo", "seo", frozenset(), frozenset(), frozenset(), is_admin=False)


@pytest.mark.parametrize(
    ("status", "answer", "text"),
    [
        (404, b"{}", "it answered 404; a filter answers 200"),
        (200, b"true", "it answered a boolean; a filter answers an object"),
        (200, b'{"contents":{}}', "it answered with an unknown key 'contents'; did you mean 'content'?"),
        (200, b'{"content":[]}', "its content is an array, not an object"),
        (200, b'{"refuse":"no"}', "its refuse is not a list of strings"),
    ],
)
def test_filter_answers(status: int, answer: bytes, text: str) -> None:
    with pytest.raises(CallError) as error:
        filter_result(status, answer)
    assert str(error.value) == text


def test_status_out_of_range() -> None:
    assert str(status_error("seo", "check", 600)) == (
        "plugin seo, action check: invalid status 600; a plugin answers with 100 to 599, an error with 400 to 599"
    )


def test_quota() -> None:
    limits = Limits(plugin_calls=0)
    loop = Loop(on_exception=pytest.fail)
    quotas = Quotas(limits, ConnectRates(limits, lambda: 0.0, PeerLog(logging.getLogger("test"), loop)))
    loop.close()

    class Connection:
        buffered_bytes = 0

    with pytest.raises(CallError) as error:
        quotas.enter(Connection(), SEO).begin_call()
    assert str(error.value) == "plugin seo has 0 calls in flight; limits.plugin_calls in reed.yaml is 0"


def test_runtime_folder_in_use(tmp_path: Path) -> None:
    folder = RuntimeFolder.open(tmp_path / "run")
    with pytest.raises(ReedError) as error:
        RuntimeFolder.open(tmp_path / "run")
    folder.close()
    assert str(error.value) == (
        f"{tmp_path}/run: another core (pid {os.getpid()}) uses this folder; "
        "stop it with `reed stop`, or choose another folder"
    )
