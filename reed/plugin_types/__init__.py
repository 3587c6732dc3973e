"""PLUGIN TYPES: all that depends on a plugin's type, one module each (adding-a-plugin-type.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reed.plugin_types.lua import LUA
from reed.plugin_types.native import NATIVE
from reed.plugin_types.plugin_type import PluginType
from reed.plugin_types.python import PYTHON

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {each.name: each for each in (LUA, NATIVE, PYTHON)}
LANGUAGES = {each.language: each for each in TYPES.values()}


def type_of(folder: Path, name: str, entry: str) -> PluginType:
    """What a plugin's folder looks like; native when it looks like none."""
    return next((each for each in TYPES.values() if each.owns(folder, name, entry)), NATIVE)
