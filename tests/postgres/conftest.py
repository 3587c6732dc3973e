"""PostgreSQL for the tests. Another folder's conftest gets the fixtures so:

from tests.postgres.conftest import cluster, database
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reed.client import Client
from tests.conftest import Site
from tests.postgres.checker import build_checker
from tests.postgres.cluster import Cluster, databases, missing, shared_clusters
from tests.postgres.cores import Cores
from tests.postgres.proxy import Proxy


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server for the session, which tests leave as it is."""
    yield from shared_clusters()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """The conninfo of a new, empty database."""
    yield from databases(cluster)


@pytest.fixture
def server() -> Iterator[Cluster]:
    """A server of the test's own, to be broken, which flushes as in production."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Cluster(fsync=True) as cluster:
        yield cluster


@pytest.fixture
def network(server: Cluster) -> Iterator[Proxy]:
    """A network to `server` that can fail."""
    with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def cores(tmp_path: Path) -> Iterator[Cores]:
    """Cores on one database, stopped at the end; none of them may log a traceback."""
    yield from _cores(tmp_path)


@pytest.fixture(scope="module")
def module_cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cores]:
    """The same for all tests of a file, where starting them takes longer than the tests."""
    yield from _cores(tmp_path_factory.mktemp("cores"))


def _cores(folder: Path) -> Iterator[Cores]:
    if importlib.util.find_spec("reed.store.postgres.store") is None:
        pytest.skip("this version has no store postgres")
    cores = Cores(folder)
    yield cores
    cores.close()
    cores.no_tracebacks()


@pytest.fixture(scope="module")
def module_database(cluster: Cluster) -> Iterator[str]:
    yield from databases(cluster)


@pytest.fixture(scope="module")
def sites(module_database: str, module_cores: Cores) -> list[Site]:
    """Two cores on one database."""
    return [module_cores.add(module_database) for _ in range(2)]


@pytest.fixture
def two(sites: list[Site]) -> Iterator[tuple[Client, Client]]:
    """A connection to each."""
    with Client(sites[0].socket_path) as first, Client(sites[1].socket_path) as second:
        yield first, second


@pytest.fixture(scope="session")
def history_checker(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Builds the checker of histories when it is first wanted."""
    folder = tmp_path_factory.mktemp("porcupine")
    return lambda: build_checker(folder)
