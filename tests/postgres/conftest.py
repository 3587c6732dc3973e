"""PostgreSQL for the tests. Another folder's conftest gets the fixtures so:

from tests.postgres.conftest import cluster, database
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres.cluster import Cluster, databases, missing, shared_clusters
from tests.postgres.cores import Cores
from tests.postgres.history import build_checker
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
    cores = Cores(tmp_path)
    yield cores
    cores.close()
    cores.no_tracebacks()


@pytest.fixture(scope="session")
def history_checker(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Builds the checker of histories when it is first wanted."""
    folder = tmp_path_factory.mktemp("porcupine")
    return lambda: build_checker(folder)
