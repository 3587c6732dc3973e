"""`reed init`: the files of a new site."""

from __future__ import annotations

import os

from reed.atomic_file import errors_of
from reed.cli.output import Output
from reed.cli.parse import Args, Subcommand

_REED_YAML = """\
# The settings of this site's core, with their defaults. An option of `reed serve` overrides a REED_… variable, which
# overrides this file. Paths are relative to this file's folder. All settings: contrib/docs/reference/configuration.md

# runtime_dir: /tmp/reed-cms         # sockets, pid files, the lock        REED_RUNTIME_DIR
# data_dir: data                     # the content (content.db) and logs   REED_DATA_DIR
# store: sqlite                      # or postgres:service=NAME              REED_STORE
# registry: plugin-registry.csv      # which plugins may run               REED_REGISTRY
# plugin_dirs: [plugins, contrib/plugins]  # the bundled ones come last    REED_PLUGIN_DIR
# log_level: info                    # debug, info, warning, error         REED_LOG_LEVEL
# log_file: data/core.log            # default: stderr, or of `reed start` core.log in data_dir  REED_LOG_FILE
# sandbox: auto                      # strict: every layer or no plugin; off REED_SANDBOX
# socket_group: www-data             # a Unix group that may also open core.sock

# Permissions of users. The user who runs the core and root have all permissions.
# groups:
#   editor:
#     users: [anna]
#     unix_groups: [editors]
#     permissions: [snippet_read, snippet_write, schema_read, registry_read, search_read, system_stats, plugin_send]

# Settings and limits of plugins; they override those in plugin.yaml.
# plugins:
#   simple-seo:
#     settings: {}
#     limits: {memory: 8MB}
#   ai-core:
#     network: [443]                 # TCP ports that it may connect to, if its plugin.yaml requests the network
"""

_REGISTRY = """\
# The plugins that may run, one per row. Lines with # are comments.
#   plugin_type           lua | python | native
#   socket_path           /tmp/reed-cms stands for the runtime folder
#   required_permissions  snippet_read snippet_write schema_read schema_write registry_read registry_write
#                         search_read search_write system_stats file_write plugin_send snippet_restore
#   user_groups           groups of reed.yaml whose users may call it; admins always may
#   auto_start            true: start it with the core
# `reed plugin reload` applies changes. It rejects an invalid file with line and column and changes nothing.
plugin_name,plugin_type,socket_path,version,required_permissions,user_groups,auto_start,description
simple-seo,lua,/tmp/reed-cms/plugins/simple-seo.sock,1.2.0,"snippet_read","editor,admin",false,"SEO validation (LUA)"
form-validator,lua,/tmp/reed-cms/plugins/form-validator.sock,2.1.0,"snippet_read","editor",false,"Form validation (LUA)"
"""

_FILES = {"reed.yaml": _REED_YAML, "plugin-registry.csv": _REGISTRY}


def init(args: Args, output: Output) -> None:
    folder = args.arg("DIR") or "."
    made, kept = _make(folder)
    lines = [f"created {path}" for path in made] + [f"{path} already exists, left unchanged" for path in kept]
    lines += ["", f"next: {'' if folder == '.' else f'cd {folder} && '}reed start"]
    output.show({"made": made, "kept": kept}, "\n".join(lines), [[path] for path in made])


def _make(folder: str) -> tuple[list[str], list[str]]:
    """Returns the created paths, and those that already existed."""
    made: list[str] = []
    kept: list[str] = []
    os.makedirs(folder, exist_ok=True)
    for name in (*_FILES, "plugins"):
        path = os.path.normpath(os.path.join(folder, name))
        try:
            if name in _FILES:
                _write(path, _FILES[name])
            else:
                os.mkdir(path)
        except FileExistsError:
            kept.append(path)
        else:
            made.append(path)
    return made, kept


def _write(path: str, text: str) -> None:
    """Raises FileExistsError."""
    with errors_of(path), open(path, "x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            os.unlink(path)  # an empty file would be left unchanged by the next attempt
            raise


SUBCOMMANDS = {
    "init": Subcommand(
        init,
        "[DIR]",
        "Create a site: reed.yaml, plugin-registry.csv and plugins/; existing files stay unchanged",
    ),
}
