"""Programs with a core in a thread: however they end, no process of a plugin is left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from reed.config import Config
from tests.embedding.conftest import Program, wait_until_gone

Start = Callable[[str], Program]

RUNS = """
core = Daemon(config()).run_in_thread()
say(start_plugin(core), *children())
"""


def pids_of(program: Program) -> list[int]:
    """The plugin, the zygote and its spare."""
    return [int(word) for word in program.words()]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("os._exit(4)", 4),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_no_process_outlives_the_program(program: Start, config: Config, end: str, status: int) -> None:
    running = program(RUNS + end)
    pids = pids_of(running)
    assert running.end()[0] == status
    wait_until_gone(*pids)
    if status in {1, 3}:  # the interpreter exited by itself, so the core stopped in order
        assert not (config.runtime_dir / "core.sock").exists()


def test_a_plugin_does_not_outlive_a_core_on_the_main_thread(program: Start) -> None:
    running = program(
        """
        core = Daemon(config())
        def call():
            say(start_plugin(core), *children())
            os._exit(0)
        threading.Thread(target=call).start()
        core.run()
        """
    )
    pids = pids_of(running)
    assert running.end()[0] == 0
    wait_until_gone(*pids)


def test_ctrl_c_stops_a_core_on_the_main_thread_in_order(program: Start, config: Config) -> None:
    running = program(
        """
        core = Daemon(config())
        threading.Thread(target=lambda: say(start_plugin(core))).start()
        try:
            core.run()
        except KeyboardInterrupt:
            pass
        finally:
            core.close()
        say("closed", (Path("site") / "run" / "core.sock").exists())
        """
    )
    (pid,) = map(int, running.words())
    running.process.send_signal(signal.SIGINT)
    assert running.words() == ["closed", "False"]
    assert running.end() == (0, "")
    wait_until_gone(pid)


def test_the_program_keeps_its_own_signal_handlers(program: Start) -> None:
    """They run, may stop the core, and the core changes none of them; its plugins have none of them."""
    running = program(
        """
        seen = []
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: (seen.append(number), core.stop()))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        handlers = [signal.getsignal(number) for number in (15, 10, 17, 1, 2)]
        core = Daemon(config())
        threading.Thread(target=lambda: say(start_plugin(core))).start()
        core.run()
        core.close()
        assert handlers == [signal.getsignal(number) for number in (15, 10, 17, 1, 2)]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
        say("stopped", *map(int, seen))
        """
    )
    (pid,) = map(int, running.words())
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert int(status["SigBlk"], 16) == 0
    assert not int(status["SigIgn"], 16) & (1 << (signal.SIGHUP - 1) | 1 << (signal.SIGCHLD - 1))
    running.process.send_signal(signal.SIGUSR1)
    assert running.words() == ["stopped", str(int(signal.SIGUSR1))]
    assert running.end() == (0, "")
    wait_until_gone(pid)


def test_a_program_that_has_many_busy_threads(program: Start) -> None:
    """The zygote is a program of its own, so no lock of these threads is ever copied into it."""
    running = program(
        """
        import logging
        logging.basicConfig(level="DEBUG", stream=open(os.devnull, "w"))
        over = threading.Event()
        def busy():
            while not over.is_set():
                logging.getLogger("busy").info("%s", list(range(100)))
        threads = [threading.Thread(target=busy) for _ in range(4)]
        for each in threads:
            each.start()
        with Daemon(config()) as core:
            say(start_plugin(core))
        over.set()
        """
    )
    (pid,) = map(int, running.words())
    assert running.end() == (0, "")
    wait_until_gone(pid)


def test_a_fork_of_the_program_does_not_touch_the_core(program: Start) -> None:
    """Neither its end, nor that it holds copies of the core's descriptors."""
    running = program(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads, from Python 3.12 on
        core = Daemon(config()).run_in_thread()
        pid = start_plugin(core)
        short = os.fork()
        if not short:
            core.stop()
            core.close()
            sys.exit(0)  # with the handlers of atexit
        assert os.waitpid(short, 0)[1] == 0
        start, go = os.pipe()
        os.set_inheritable(start, True)
        long = os.fork()
        if not long:
            os.close(go)
            os.read(start, 1)
            os._exit(0)
        os.close(start)
        assert start_plugin(core) == pid
        core.close()
        with Daemon(config()) as core:  # the locks are free, though the child has their descriptors
            say(start_plugin(core))
        os.close(go)
        os.waitpid(long, 0)
        """
    )
    (pid,) = map(int, running.words())
    assert running.end() == (0, "")
    wait_until_gone(pid)


def test_reed_that_only_sys_path_tells_about(config: Config, program: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zygote imports the same."""
    running = program(
        """
        os.environ.pop("PYTHONPATH", None)
        with Daemon(config()) as core:
            say(start_plugin(core))
        """
    )
    (pid,) = map(int, running.words())
    assert running.end() == (0, "")
    wait_until_gone(pid)
