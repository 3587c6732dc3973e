"""The life of a core inside a program: which thread runs it, and how other threads reach it.

    built ──┬─ run()            the caller's thread serves until stop()
            └─ run_in_thread()  a new thread serves; the call returns when core.sock answers
    stop()    from any thread or Unix signal handler: plugins stop, then run() returns
    close()   stop, wait for the serving thread, release locks and sockets

The loop belongs to the thread that runs it. Callbacks of other threads wait in a queue, and a byte in a pipe wakes
the loop. A fork of the process inherits the object but not the thread: in the child the object does nothing.
"""

from __future__ import annotations

import abc
import atexit
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from reed.errors import ReedError
from reed.loop.loop import Loop

_READ_BYTES = 4096
_START_TIMEOUT = 30.0  # seconds


class ThreadCalls:
    """Callbacks for the loop from other threads, and from Unix signal handlers."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._lock = threading.RLock()  # a signal handler may interrupt `add` in the same thread
        self._calls: deque[Callable[[], None]] = deque()
        self._is_closed = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        loop.watch(self._reader, self._run)

    def add(self, callback: Callable[[], None]) -> None:
        """The loop runs it in one of its next turns, in the order of the calls; never after `close`."""
        with self._lock:
            if not self._is_closed:
                self._calls.append(callback)
                with contextlib.suppress(BlockingIOError):  # the pipe is full, so the loop wakes up anyway
                    os.write(self._writer, b"!")

    def close(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._loop.unwatch(self._reader)
                os.close(self._reader)
                os.close(self._writer)

    def _run(self) -> None:
        os.read(self._reader, _READ_BYTES)
        while self._calls:
            self._loop.call_soon(self._calls.popleft())


class ThreadedCore(abc.ABC):
    """The base of `Daemon`. As a context manager it serves in a thread of its own for the block."""

    loop: Loop

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._runner: threading.Thread | None = None
        self._is_started = False
        self._has_stopped = False  # the plugins have exited
        self._is_closed = False
        self._served = threading.Event()  # set when the runner has left the loop
        self._error: BaseException | None = None

    # What the core provides.

    @abc.abstractmethod
    def _start(self) -> None:
        """Start the processes that the core needs. Called by the thread that runs the loop."""

    @abc.abstractmethod
    def _begin_stop(self) -> None:
        """In the loop: stop the plugins, and call `_stopped` when they have exited."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Close everything. The loop does not run."""

    @abc.abstractmethod
    def _call(self, callback: Callable[[], None]) -> None:
        """ThreadCalls.add"""

    @property
    @abc.abstractmethod
    def _stop_timeout(self) -> float:
        """Seconds within which the plugins have exited, by the settings."""

    @property
    @abc.abstractmethod
    def _leaves_plugins(self) -> bool:
        """Whether plugins keep running when the loop ends otherwise than by `stop`, for the next core to adopt."""

    # What programs call.

    def start(self) -> None:
        """Start the helper process and the plugins with auto_start. `run` does it, unless it was done in its thread.

        Raises ReedError, OSError.
        """
        if not self._is_started:
            self._is_started = True
            self._start()

    def run(self) -> None:
        """Serve on the caller's thread until `stop`; then call `close`.

        Raises ReedError if the core runs already or has ended, and OSError if its helper process cannot be started.
        """
        self._claim(threading.current_thread())
        try:
            self._serve()
        finally:
            self._end()

    def run_in_thread(self, name: str = "reed") -> Self:
        """Serve in a new thread; returns this core when it answers on core.sock.

        The core stops by `stop` or `close`, and at the latest when the interpreter exits. If it cannot start, it is
        closed, and the error is raised here: ReedError, OSError.
        """
        answers = threading.Event()
        thread = threading.Thread(target=self._run_until_closed, args=(answers,), name=name, daemon=True)
        self._claim(thread)
        thread.start()
        answers.wait(_START_TIMEOUT)
        if not answers.is_set():
            self.stop()
            raise ReedError(f"the core did not answer within {_START_TIMEOUT:g} s", hint="see its log")
        if self._error is not None:
            thread.join()
            raise self._error
        return self

    def stop(self) -> None:
        """Stop the plugins, and let `run` return when they have exited; does not wait for that.

        Any thread and any Unix signal handler may call it, more than once.
        """
        if self._is_own():
            self._call(self._begin_stop)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the core has ended. Raises what ended it if that was not `stop`, and ReedError after `timeout`
        seconds, or if nothing runs this core."""
        if not self._is_own():
            return
        if self._runner is None:
            raise ReedError("this core does not run", hint="call run_in_thread() first")
        if self._runner is threading.current_thread() and not self._served.is_set():
            raise ReedError("the core's own thread cannot wait for its end", hint="call stop()")
        if not self._served.wait(timeout):
            raise ReedError(f"the core has not ended within {timeout:g} s", hint="stop() lets it end")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop the core and wait, if it runs; then release its folders and sockets. A second call does nothing."""
        if not self._is_own() or self._is_closed:
            return
        if self._runner is not None and not self._served.is_set():
            if self._runner is threading.current_thread():
                raise ReedError("the core's own thread cannot wait for its end", hint="call stop()")
            self.stop()
            self._served.wait()
        self._close()

    def __enter__(self) -> Self:
        return self.run_in_thread()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
        if self._error is None:
            return
        if error is None:
            raise self._error
        error.add_note(f"the core ended before: {self._error!r}")

    # Threads.

    def _claim(self, thread: threading.Thread) -> None:
        with self._lock:
            if self._is_closed or self._served.is_set():
                raise ReedError("this core has ended", hint="create another Daemon")
            if self._runner is not None:
                raise ReedError(f"this core runs already, in the thread {self._runner.name!r}")
            self._runner = thread

    def _serve(self) -> None:
        atexit.register(self._stop_at_exit)  # for a daemon thread, which runs until then
        self.start()
        self.loop.run()

    def _end(self) -> None:
        self._served.set()
        atexit.unregister(self._stop_at_exit)

    def _run_until_closed(self, answers: threading.Event) -> None:
        try:
            self.loop.call_soon(answers.set)
            self._serve()
        except BaseException as error:  # noqa: BLE001 - raised by run_in_thread, join or __exit__
            self._error = error
        finally:
            try:
                self._close()
            except BaseException as error:  # noqa: BLE001
                self._error = self._error or error
            self._end()
            answers.set()

    def _stopped(self) -> None:
        self._has_stopped = True
        self.loop.stop()

    def _close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        try:
            if self._is_started and not self._has_stopped and not self._leaves_plugins:
                self._stop_after_error()
        finally:
            self._release()

    def _stop_after_error(self) -> None:
        """An exception such as KeyboardInterrupt ended the loop: let it run until the plugins have exited."""
        self.stop()
        self.loop.call_later(self._stop_timeout, self.loop.stop)
        self.loop.run()

    def _stop_at_exit(self) -> None:
        if self._is_own():
            self.stop()
            self._served.wait(self._stop_timeout)

    def _is_own(self) -> bool:
        return os.getpid() == self._pid
