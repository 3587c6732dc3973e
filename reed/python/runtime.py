"""Python in the process of a plugin: runs main.py, then the handlers that it has set in reed.plugin.

host ── call(id, payload) ──> limits.begin ── handler ── limits.end ──> JobOutcome
host <── services ─────────── limits.serve <── reed.plugin.services <── reed.snippet.get(…)
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import posix
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NoReturn, TextIO

from reed.plugin import Error, plugin, reed
from reed.plugin import services as sdk_services
from reed.plugin.handlers import Spec
from reed.plugin.services import DEPTH, encode
from reed.plugin_host.dispatcher import log
from reed.plugin_host.runtime import JobOutcome, Service
from reed.python.limits import Limits, TimeLimit
from reed.python.traces import Traces
from reed.wire import strict_json

_DONE = JobOutcome("done", ())
_ENV_START, _ENV_END = 47, 48  # fields of /proc/self/stat after the name (proc(5): 50 and 51)
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class PythonRuntime:
    uncharged = 0.0

    def __init__(self) -> None:
        self.about = {"python": ".".join(map(str, sys.version_info[:3]))}
        _replace_environment()
        self._limits = Limits()
        self._folder = ""
        self._traces = Traces("/")

    def start(self, services: Mapping[bytes, Service], *, memory: int, spec: bytes) -> None:
        fields = strict_json.loads(spec)
        self._folder = fields["folder"]
        self._traces = Traces(self._folder)
        self._limits.start(memory=memory, cpu=fields["cpu"])
        plugin.byte_actions = {fields["actions"][name] for name in fields["byte_actions"]}
        sdk_services.provide({name: partial(self._serve, service) for name, service in services.items()})
        plugin.name, plugin.version = fields["name"], fields["version"]
        plugin.folders = self._folder, fields["data_dir"]
        plugin.spec = Spec(fields["actions"], fields["hooks"])
        reed.settings.update(fields["settings"])
        if fields["network"]:
            os.environ["RES_OPTIONS"] = "use-vc"  # DNS by TCP, because the sandbox has no UDP
        self._prepare_python()

    def _prepare_python(self) -> None:
        sys.path[:0] = [self._folder, os.path.join(self._folder, "lib")]
        sys.dont_write_bytecode = True  # the sandbox would refuse it
        sys.argv = [os.path.join(self._folder, "main.py")]
        sys.stdout, sys.stderr = (_stream(fd) for fd in (1, 2))
        os._exit = partial(self._exit_by_plugin, os._exit)
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        gc.enable()

    def load(self, name: str, source: bytes) -> JobOutcome:
        return self.run(self._load, name, source)

    def _load(self, name: str, source: bytes) -> JobOutcome:
        path = os.path.join(self._folder, name)
        module = ModuleType(os.path.basename(name).removesuffix(".py"))
        module.__file__ = path
        sys.modules[module.__name__] = module
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        return _DONE

    def call(self, command_id: int, payload: bytes) -> JobOutcome:
        if command_id not in plugin.handlers:
            return JobOutcome("none", ())
        return self.run(_call, command_id, payload)

    def message(self, source: str, message_type: int, payload: bytes) -> JobOutcome:
        handler = plugin.message_handlers.get(message_type)
        if handler is None:
            return JobOutcome("none", ())
        return self.run(_message, handler, source, message_type, payload)

    def signal(self, signal_type: int, data: bytes) -> JobOutcome:
        if plugin.signal_handler is None:
            return _DONE
        return self.run(_hook, plugin.signal_handler, signal_type, data.decode("utf-8", "replace"))

    def start_up(self) -> JobOutcome:
        return self.run(_hook, plugin.start_handler) if plugin.start_handler else _DONE

    def sleep(self) -> JobOutcome:
        return self.run(_hook, plugin.sleep_handler) if plugin.sleep_handler else _DONE

    def finish(self) -> JobOutcome:
        """Runs what main.py has registered with atexit."""
        import atexit

        return self.run(_hook, atexit._run_exitfuncs)

    def manifest(self) -> bytes:
        return plugin.manifest()

    def set_settings(self, text: bytes) -> None:
        """In place: main.py may hold the dict."""
        settings = strict_json.loads(text)
        reed.settings.clear()
        reed.settings.update(settings)

    def memory_used(self) -> int:
        return self._limits.memory_used()

    def collect(self) -> None:
        gc.collect()

    # Jobs

    def run(self, function: Callable[..., JobOutcome], *arguments: Any) -> JobOutcome:
        """Returns a JobOutcome whatever the plugin does, unless the process ends."""
        self.uncharged = 0.0
        try:
            self._limits.begin()
            try:
                return function(*arguments)
            finally:
                self._limits.end()
        except BaseException as error:  # noqa: BLE001
            return self._outcome(error)

    def _outcome(self, error: BaseException) -> JobOutcome:
        if isinstance(error, Error) and not error.is_of_core:
            return JobOutcome("fail", (error.status, error.text.encode("utf-8", "replace"), error.code))
        if isinstance(error, TimeLimit):
            return JobOutcome("time", (self._traces.place(error),))
        if isinstance(error, MemoryError):
            place = self._traces.place(error)
            error.__traceback__ = None  # frees the variables of its frames
            gc.collect()
            return JobOutcome("memory", (place,))
        text, stack = self._traces.text(error), self._traces.stack(error)
        return JobOutcome("error", (text, stack))

    def _serve(self, service: Service, *arguments: bytes) -> bytes | None:
        try:
            return self._limits.serve(service, arguments)
        finally:
            if self.uncharged:
                self._limits.extend(self.uncharged)
                self.uncharged = 0.0

    def _exit_by_plugin(self, leave: Callable[[int], NoReturn], status: int) -> NoReturn:
        """os._exit, with a line in the log if the plugin calls it."""
        if self._limits.is_running:
            frame = sys._getframe(1)
            place = f"{frame.f_code.co_filename.removeprefix(self._folder + '/')}:{frame.f_lineno}"
            log(b"error", f"{place}: os._exit({status}) ends the plugin's process".encode())
        leave(status)


def _replace_environment() -> None:
    """Nothing of the core's, which may hold secrets, is left: not in os.environ and posix.environ, which are copies of
    Python, and not in the block that the kernel wrote when the zygote was started (/proc/self/environ).
    """
    os.environ.clear()
    posix.environ.clear()
    _overwrite_initial_environment()
    os.environ.update(_ENVIRONMENT)


def _overwrite_initial_environment() -> None:
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return  # without /proc nobody can read it there either
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)


def _stream(fd: int) -> TextIO:
    """A line at a time. The zygote's own streams belong to another file."""
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _call(command_id: int, payload: bytes) -> JobOutcome:
    return JobOutcome("done", plugin.call(command_id, payload))


def _message(handler: Callable[[Any, str, int], object], source: str, kind: int, payload: bytes) -> JobOutcome:
    answer = handler(strict_json.loads(payload, DEPTH), source, kind)
    return JobOutcome("done", (None if answer is None else encode(answer),))


def _hook(handler: Callable[..., object], *arguments: object) -> JobOutcome:
    handler(*arguments)
    return _DONE
