"""Every line of reedcms-10.md#command-line, typed into a shell in the folder of a site."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reed
from reed.config import BUNDLED_PLUGINS

ROOT = Path(__file__).parents[2]
# Bundled plugins of the installed package, or of the checkout.
CONTRIB = BUNDLED_PLUGINS if BUNDLED_PLUGINS.is_dir() else ROOT / "contrib/plugins"
BLOCK = """
# Plugin lifecycle (works for both LUA and Rust)
reed plugin list                    # List all available plugins
reed plugin status                  # Show plugin health status
reed plugin start ai-core           # Start Rust Pro Plugin
reed plugin start simple-seo        # Start LUA Plugin
reed plugin stop analytics          # Stop plugin gracefully

# Plugin communication (same interface for both types)
reed plugin send ai-core optimize $snippet_id        # Send to Rust plugin
reed plugin send simple-seo validate $snippet_id     # Send to LUA plugin
reed plugin signal analytics wake                    # Send signal to plugin

# Development tools
reed plugin scaffold new-lua-plugin       # Generate LUA plugin template
reed plugin scaffold new-rust-plugin      # Generate Rust plugin template
reed plugin test ai-core                  # Run plugin health checks
"""
LINES = [line for line in BLOCK.splitlines() if line and not line.startswith("#")]
COMMAND = f"""#!/bin/sh
exec {sys.executable} -c 'import sys; from reed.cli import main; sys.exit(main())' "$@"
"""


@pytest.fixture
def typed(site):
    """Runs a line in a shell in the site's folder."""
    command = site.root / "bin/reed"
    command.parent.mkdir()
    command.write_text(COMMAND)
    command.chmod(0o755)
    rows = (ROOT / "plugin-registry.csv").read_text(encoding="utf-8")
    site.registry.write_text(rows.replace(",true,", ",false,"))
    for name in ("simple-seo", "form-validator", "backup"):
        shutil.copytree(CONTRIB / name, site.root / "plugins" / name)

    def type_line(line: str, snippet_id: str = "") -> str:
        environ = {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(reed.__file__).parent.parent),
            "REED_RUNTIME_DIR": str(site.runtime_dir),
            "snippet_id": snippet_id,
        }
        done = subprocess.run(
            ["sh", "-c", line], cwd=site.root, env=os.environ | environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    return type_line


def a_page(typed) -> str:
    typed("""reed registry define page '{"schema": {"type": "object"}}'""")
    page = """'{"title": "Rye bread", "body": "Flour, water, salt and patience make rye bread."}'"""
    return typed(f"reed snippet create page {page}").split()[0]


def test_the_lines_on_lua_plugins(site, typed) -> None:
    site.start()
    snippet_id = a_page(typed)
    native = ("ai-core", "analytics", "new-rust-plugin")
    lines = [line for line in LINES if not any(name in line for name in native)]
    assert len(lines) == 5
    printed = "".join(typed(line, snippet_id) for line in [*lines, "reed plugin scaffold new-rust-plugin"])
    for expected in ("simple-seo", '"score"', "plugins/new-lua-plugin/main.lua", "plugins/new-rust-plugin/src/main.rs"):
        assert expected in printed
    site.no_tracebacks()


@pytest.mark.slow
def test_all_lines(site, typed, cargo_build) -> None:
    if not os.environ.get("REED_SLOW_TESTS"):
        pytest.skip("builds ai-core and analytics: half a minute; REED_SLOW_TESTS=1 runs it")
    for name in ("ai-core", "analytics"):
        folder = site.root / "plugins" / name
        folder.mkdir()
        shutil.copy2(CONTRIB / name / "plugin.yaml", folder)
        shutil.copy2(cargo_build(CONTRIB / name, "--locked") / name, folder)
    site.start()
    snippet_id = a_page(typed)
    typed("reed plugin start analytics")
    for line in LINES:
        printed = typed(line, snippet_id)
    assert "ai-core 1.0.0" in printed or "registration" in printed
    site.no_tracebacks()
