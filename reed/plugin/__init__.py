"""The SDK of plugins in Python (python-api.md).

    from reed.plugin import plugin, reed

    main.py ── decorators ──> plugin ── the handlers, which reed.python calls
       └────── functions ───> reed ──── services, which the process of the plugin provides

Only a plugin's process and its tests import this.
"""

from __future__ import annotations

from reed.plugin.batch import Batch, Pending
from reed.plugin.core import Reed
from reed.plugin.failure import Error
from reed.plugin.handlers import Answer, Plugin
from reed.plugin.schema import TreeNode
from reed.plugin.search import SearchHit, SearchPage
from reed.plugin.signals import messages, signals
from reed.plugin.snippet import Page, Snippet

__all__ = [
    "Answer",
    "Batch",
    "Error",
    "Page",
    "Pending",
    "Plugin",
    "Reed",
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
