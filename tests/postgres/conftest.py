"""PostgreSQL for the tests. Another folder's conftest gets the fixtures so:

from tests.postgres.conftest import cluster, database
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.cluster import Cluster, databases, missing, shared_clusters


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
