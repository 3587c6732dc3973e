"""What a caller may expect of any store. Nothing here looks into a store's files or attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Driver, Factory, Options
from stores import STORES


@pytest.fixture(params=STORES)
def factory(request: pytest.FixtureRequest) -> Factory:
    factory = STORES[request.param]
    if reason := factory.unavailable():
        pytest.skip(f"no {request.param}: {reason}")
    return factory


@pytest.fixture
def open_store(factory: Factory, tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Opens a store, the same one each time unless `place` differs; closed at the end of the test."""
    opened: list[Driver] = []

    def open_it(place: str = "store", **options: Any) -> Driver:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        driver = Driver(factory.open(folder, Options(**options)))
        opened.append(driver)
        return driver

    yield open_it
    for driver in opened:
        driver.close()
