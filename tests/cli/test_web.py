"""`reed web` where its packages are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["jinja2", "starlette", "uvicorn"])
def test_a_missing_package_is_one_line_with_what_to_install(package):
    code = f"import sys; sys.modules[{package!r}] = None; from reed.cli import main; sys.exit(main(['web']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "requires the package" in done.stderr
    assert "pip install 'reed-cms[web]'" in done.stderr
