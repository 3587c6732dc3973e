"""What a plugin is: its row and its plan, those of the process in charge and those that the files say now.

plugin-registry.csv ── set_row ──┐
plugin.yaml, reed.yaml, code ────┴── planned ── look: the next process is launched so ── row, plan
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from reed.registry.hooks import Tools
from reed.registry.manifest import Manifest
from reed.registry.output import PluginLog
from reed.registry.processes import LaunchSpec
from reed.registry.rows import Row
from reed.registry.run import Run, pid_file
from reed.registry.specs import Plan, plan


class Planned:
    """`row` and `plan` are those of the process in charge, or else of the next one."""

    def __init__(self, row: Row, tools: Tools) -> None:
        self.row = row
        self.plan: Plan | None = None
        self.newest_row = row
        self.run: Run | None = None  # the process in charge
        self.latest: Run | None = None  # that one, or the last that was to be it
        log = tools.config.data_dir / "logs" / f"{row.plugin_name}.log"
        self.output = PluginLog(row.plugin_name, log, tools.log, tools.clock)
        self._tools = tools

    @property
    def name(self) -> str:
        return self.row.plugin_name

    @property
    def pid(self) -> int | None:
        return self.run.pid if self.run else None

    @property
    def last_lines(self) -> deque[str]:
        return self.output.last_lines

    @property
    def manifest(self) -> Manifest | None:
        return self.plan.manifest if self.plan else None

    @property
    def spec(self) -> LaunchSpec | None:
        return self.plan.spec if self.plan else None

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.plan.spec.settings) if self.plan else {}

    def note_deep_sleep(self) -> None:
        """There is no process that tells the next core of it, should this one die: a file does (leftovers)."""
        with contextlib.suppress(OSError):  # a full disk: the next core does not know of it
            self._asleep_file.touch(mode=0o600)

    def forget_deep_sleep(self) -> None:
        self._asleep_file.unlink(missing_ok=True)

    @property
    def _asleep_file(self) -> Path:
        return pid_file(self._tools.config.runtime_dir, self.name).with_suffix(".asleep")

    def planned(self) -> Plan:
        """The plan as the files say now. Raises ManifestError."""
        return plan(self.newest_row, self._tools.config, self._tools.manifests)

    def is_as(self, fresh: Plan) -> bool:
        """Is the process in charge as a new one would be?"""
        return fresh == self.plan and self.newest_row == self.row

    def set_row(self, row: Row) -> None:
        """Its row was read again. Who may send to it holds at once, the rest for the next process."""
        self.newest_row = row
        self.row = replace(
            self.row,
            user_groups=row.user_groups,
            auto_start=row.auto_start,
            description=row.description,
            line=row.line,
        )

    def look(self) -> None:
        """Take the newest. Raises ManifestError, and then keeps what it had."""
        self.plan = self.planned()
        self.row = self.newest_row

    def look_at_settings(self) -> dict[str, Any]:
        """Its settings as its folder has them now, for the process that runs. Raises ManifestError."""
        fresh = self.planned().spec
        if self.plan is not None:
            self.plan = self.plan._replace(spec=replace(self.plan.spec, settings=fresh.settings))
            if self.run is not None:
                self.run.plan = self.plan
        return self.settings
