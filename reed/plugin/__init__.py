"""The SDK of plugins in Python (python-api.md).

    from reed.plugin import plugin, reed

    main.py ── decorators ──> plugin ── the handlers, which reed.python calls
       └────── functions ───> reed ──── services, which the process of the plugin provides

Only a plugin's process and its tests import this.
"""

from __future__ import annotations

from reed.plugin.core import Reed, messages, signals
from reed.plugin.failure import Error
from reed.plugin.handlers import Answer, Plugin
from reed.plugin.records import Lines, Page, Restored, SearchHit, SearchPage, Snippet, TreeNode
from reed.plugin.writes import Batch, Pending

__all__ = [
    "Answer",
    "Batch",
    "Error",
    "Lines",
    "Page",
    "Pending",
    "Plugin",
    "Reed",
    "Restored",
    "SearchHit",
    "SearchPage",
    "Snippet",
    "TreeNode",
    "messages",
    "plugin",
    "reed",
    "signals",
]

reed = Reed()
plugin = Plugin(reed)
