"""`reed.log`: lines in the plugin's log and the core's, up to `limits.log_lines` a second."""

from __future__ import annotations

from reed.plugin.services import ask, encode


class Log:
    """With arguments, `message` is a format: `log.info("%s has %d words", name, words)`. A dict is written as JSON."""

    def debug(self, message: object, *arguments: object) -> None:
        _write(b"debug", message, arguments)

    def info(self, message: object, *arguments: object) -> None:
        _write(b"info", message, arguments)

    def warn(self, message: object, *arguments: object) -> None:
        _write(b"warn", message, arguments)

    def error(self, message: object, *arguments: object) -> None:
        _write(b"error", message, arguments)


def _write(level: bytes, message: object, arguments: tuple[object, ...]) -> None:
    text = encode(message).decode() if isinstance(message, dict) else str(message)
    ask("log", level, (text % arguments if arguments else text).encode("utf-8", "replace"))
