"""Fixtures for pytest, which finds them by the entry point `pytest11` of the installed package.

    @pytest.mark.reed_core(types={"page": {}}, plugins=["plugins/greeter"])
    def test_greeting(reed_core):
        reed_core.client().plugin_send("greeter", "greet", {"name": "Ada"})

Nothing else of reed is imported until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reed.testing import Core

_MARKER = "reed_core"
_LOG_LINES = 40  # in the report of a test that failed
_cores = pytest.StashKey[list["Core"]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(types=…, content=…, plugins=…, settings=…, folder=…): what the core of the fixture reed_core has;"
        " the arguments of reed.testing.core",
    )


@pytest.fixture
def reed_core_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Core]]:
    """A function that starts a core, with the arguments of `reed.testing.core`; at the end of the test all are stopped.

    The test fails with the end of the core's log if the core does not start, or dies during the test.
    """
    from reed.testing import core

    with ExitStack() as stack:
        cores: list[Core] = request.node.stash.setdefault(_cores, [])

        def start(*args: Any, **options: Any) -> Core:
            cores.append(stack.enter_context(core(*args, **options)))
            return cores[-1]

        yield start


@pytest.fixture
def reed_core(request: pytest.FixtureRequest, reed_core_factory: Callable[..., Any]) -> Core:
    """A running core in a temporary folder, with what the markers `reed_core` of test, class and module ask for."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers(_MARKER):  # the test's comes first
        if marker.args:
            pytest.fail(f"pytest.mark.{_MARKER} takes named arguments, such as types={{…}}; found {marker.args!r}")
        options = {**marker.kwargs, **options}
    core: Core = reed_core_factory(**options)
    return core


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    for core in item.stash.get(_cores, []) if report.failed else ():
        if core.log.exists():  # while it runs; later the error has the end of the log
            lines = core.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
            report.sections.append((f"{core.log}, the last lines", "\n".join(lines)))
