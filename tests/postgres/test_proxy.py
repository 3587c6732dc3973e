"""The network of the tests, with a client of PostgreSQL on it and no reed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.proxy import Proxy

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
if not missing():
    import psycopg


@pytest.fixture
def network(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", cluster.port) as proxy:
        yield proxy


@pytest.fixture
def client(cluster: Cluster, network: Proxy, database: str) -> Iterator[psycopg.Connection]:
    conninfo = psycopg.conninfo.make_conninfo(database, host="127.0.0.1", port=network.port)
    with contextlib.closing(psycopg.connect(conninfo, autocommit=True)) as connection:
        connection.execute("CREATE TABLE t (n int)")
        yield connection


@pytest.fixture
def insert(client: psycopg.Connection) -> Iterator[Callable[[], threading.Thread]]:
    """Begins to insert a row on a thread, which the caller joins."""
    started: list[threading.Thread] = []

    def run() -> None:
        with contextlib.suppress(psycopg.OperationalError):
            client.execute("INSERT INTO t VALUES (1)")

    def start() -> threading.Thread:
        started.append(threading.Thread(target=run))
        started[-1].start()
        return started[-1]

    yield start
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()


def rows(cluster: Cluster, client: psycopg.Connection) -> int:
    [(count,)] = cluster.sql("SELECT count(*) FROM t", database=client.info.dbname)
    return int(count)


def test_a_lost_answer(cluster: Cluster, network: Proxy, client: psycopg.Connection, insert) -> None:
    network.drop("to_client")
    thread = insert()
    wait_until(lambda: rows(cluster, client) == 1, "the insert is carried out")
    assert thread.is_alive()
    network.heal()
    thread.join(20)
    assert not client.closed


def test_a_lost_statement(cluster: Cluster, network: Proxy, client: psycopg.Connection, insert) -> None:
    network.drop("to_server")
    thread = insert()
    thread.join(0.2)
    assert thread.is_alive()
    assert rows(cluster, client) == 0
    network.heal(reset=True)
    thread.join(20)
    assert client.closed
    assert rows(cluster, client) == 0


def test_a_partition_keeps_new_clients_waiting(network: Proxy, client: psycopg.Connection) -> None:
    network.drop()
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        psycopg.connect(f"host=127.0.0.1 port={network.port} dbname=postgres user=reed", connect_timeout=2)
    network.heal()
    assert client.execute("SELECT 1").fetchone() == (1,)


def test_a_delay(network: Proxy, client: psycopg.Connection) -> None:
    network.delay(0.3)
    thread = threading.Thread(target=client.execute, args=("SELECT 1",))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()
    thread.join(20)
    assert not thread.is_alive()


def test_a_reset_and_a_refusal(network: Proxy, client: psycopg.Connection) -> None:
    network.reset()
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")
    network.refuse()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port={network.port} dbname=postgres user=reed")
    network.accept()
    psycopg.connect(f"host=127.0.0.1 port={network.port} dbname=postgres user=reed").close()


@pytest.mark.parametrize(("when", "expected"), [("before", 0), ("after", 1)])
def test_a_cut(cluster: Cluster, network: Proxy, client: psycopg.Connection, insert, when, expected) -> None:
    network.cut_at(b"INSERT INTO", when)
    insert().join(20)
    network.wait_cut()
    assert client.closed
    wait_until(lambda: rows(cluster, client) == expected, "what passed is carried out")


def test_a_cut_in_the_middle(cluster: Cluster, network: Proxy, client: psycopg.Connection, insert) -> None:
    network.cut_at(b"INTO t", "half")
    thread = insert()
    network.wait_cut()
    thread.join(0.1)
    assert thread.is_alive()
    network.heal()
    thread.join(20)
    assert rows(cluster, client) == 1


def test_an_answer_that_is_held(cluster: Cluster, network: Proxy, client: psycopg.Connection, insert) -> None:
    network.cut_at(b"INSERT INTO", "answer")
    thread = insert()
    network.wait_cut()
    wait_until(lambda: rows(cluster, client) == 1, "the insert is carried out")
    with psycopg.connect(f"host=127.0.0.1 port={network.port} dbname=postgres user=reed") as other:
        assert other.execute("SELECT 1").fetchone() == (1,), "other connections are not held"
    assert thread.is_alive()
    network.heal()
    thread.join(20)
    assert not client.closed


def test_much_data_passes(client: psycopg.Connection) -> None:
    text = "x" * 5_000_000
    [(back,)] = client.execute("SELECT %s", (text,)).fetchall()
    assert back == text
