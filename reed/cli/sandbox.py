"""The layers of the sandbox in words, as SYSTEM_STATS tells them under `sandbox` (reed.sandbox.probe)."""

from __future__ import annotations

from typing import Any


def in_words(sandbox: dict[str, Any]) -> str:
    """What holds, in one line."""
    if sandbox["mode"] == "off":
        return "rlimits and no_new_privs alone"
    layers = ["rlimits"]
    if sandbox["no_new_privs"]:
        layers.append("no_new_privs")
    if sandbox["landlock"]:
        layers.append(f"Landlock (ABI {sandbox['landlock']})")
    if sandbox["seccomp"]:
        layers.append("seccomp")
    return ", ".join(layers) + ("" if sandbox["missing"] else ": all layers hold")
