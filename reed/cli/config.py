"""`reed config show`: every setting, and where it comes from."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from reed.cli.core import SETTINGS
from reed.cli.options import overrides
from reed.cli.output import Column, Output, print_error
from reed.cli.parse import Args, Subcommand

HIDDEN = "(hidden)"

# Keys of a plugin's settings that name a secret, and the password of a URL.
_SECRET = re.compile(r"pass(word|wd|phrase|code)?$|secret|token|credential|(^|[_-]|api)key$|auth$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")


def show(args: Args, output: Output) -> None:
    from reed.config import config_file, load_explained, unknown_variables

    path = config_file(args.text("--config"), os.environ)
    settings = load_explained(args.text("--config"), os.environ, overrides(args))
    rows: list[dict[str, Any]] = [
        {**each._asdict(), "value": hide_secrets(each.name.rpartition(".")[2], each.value)} for each in settings
    ]
    unknown = unknown_variables(os.environ)
    if output.as_json:
        output.json({"file": path, "settings": rows, "unknown_variables": sorted(unknown)})
        return
    shown = [
        {**row, "value": json.dumps(row["value"], ensure_ascii=False), "from": row["place"] or row["source"]}
        for row in rows
    ]
    output.table(_SETTINGS, shown)
    output.info(f"\nfile: {path or 'none (reed.yaml is not in this folder)'}")
    for name, hint in unknown.items():
        print_error(f"warning: unknown variable {name}; {hint}")


def hide_secrets(key: str, value: Any) -> Any:
    """The value of a key, without what looks like a password in it."""
    if isinstance(value, dict):
        return {name: hide_secrets(name, each) for name, each in value.items()}
    if isinstance(value, list):
        return [hide_secrets(key, each) for each in value]
    if _SECRET.search(key) and value not in ("", None):
        return HIDDEN
    return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", value) if isinstance(value, str) else value


_SETTINGS = (
    Column("SETTING", "name", whole=True),
    Column("VALUE", "value", shrink=1),
    Column("FROM", "from", shrink=2),
)
SUBCOMMANDS = {
    "config show": Subcommand(
        show,
        "",
        "Print every setting and where it comes from",
        SETTINGS,
        f"""
An option overrides a variable, which overrides reed.yaml, which overrides the default. Passwords are shown as {HIDDEN}.
The settings are those that `reed start` would use in this folder with these options; `reed restart` applies changes to
a running core.

  reed config show
  reed config show --json | jq '.settings[] | select(.source != "default")'

Into a pipe, separated by tabs: setting, value (JSON), from.""",
    ),
}
