"""Records: what a run measured and on what machine, one dated JSON file under bench/results for each.

    {"kind": "table", "at": "2026-11-23T05:40:11Z", "machine": {…}, "lines": [{"work", "ours", "unit", "peer", …}]}

A machine is described by what makes a figure what it is: kernel, processor, versions; never by its name or paths.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from reed import __version__

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("lupa", "jsonschema-rs", "uvloop", "pyzmq", "grpcio", "matplotlib")


def machine() -> dict[str, Any]:
    """Kernel, processor, memory, versions."""
    return {
        "kernel": platform.release().split("-")[0],
        "architecture": platform.machine(),
        "processor": _line_of("/proc/cpuinfo", "model name"),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],  # of the last minute: what else went on
        "memory": _line_of("/proc/meminfo", "MemTotal"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "reed": __version__,
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "programs": {name: said for name, words in _programs().items() if (said := _said(words))},
    }


def write(kind: str, content: dict[str, Any], folder: Path = RESULTS) -> Path:
    """A new record; `content` under the keys that its kind has."""
    now = time.gmtime()
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y-%m-%d-%H%M', now)}-{kind}.json"
    record = {"kind": kind, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", now), "machine": machine(), **content}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path


def last(kind: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The newest record of this kind."""
    paths = sorted(folder.glob(f"*-{kind}.json"))
    if not paths:
        return None
    record: dict[str, Any] = json.loads(paths[-1].read_text())
    return record


def _line_of(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.split(":", 1)[1].strip()
    return "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _programs() -> dict[str, list[str]]:
    return {"cc": ["cc", "--version"], "go": ["go", "version"], "redis-server": ["redis-server", "--version"]}


def _said(words: list[str]) -> str:
    if shutil.which(words[0]) is None:
        return ""
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0][:60] if said else ""


def python_tag() -> str:
    """What instruction counts depend on: they are compared only between equal ones."""
    return f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}-{platform.machine()}"
