"""What `reed init` writes: a site that runs as it is, with every setting there to be found."""

from __future__ import annotations

import os

REED_YAML = """\
# The settings of this site's core, with their defaults; limits and timing are in reed's README. A flag of `reed serve`
# wins over a REED_… variable, a variable over this file. Paths are relative to this file's folder.

# runtime_dir: /tmp/reed-cms         # sockets, pid files, the lock        REED_RUNTIME_DIR
# data_dir: data                     # the content (content.db) and logs   REED_DATA_DIR
# store: sqlite                      # or postgres:service=NAME              REED_STORE
# registry: plugin-registry.csv      # which plugins may run               REED_REGISTRY
# plugin_dirs: [plugins, contrib/plugins]  # and then those of reed        REED_PLUGIN_DIR
# log_level: info                    # debug, info, warning, error         REED_LOG_LEVEL
# log_file: data/core.log            # where the core logs; else serve logs to stderr, start to data_dir/core.log
# sandbox: auto                      # strict: every layer or no plugin; off REED_SANDBOX
# socket_group: www-data             # a Unix group that may open core.sock too

# Who may what, beside the user who runs the core, and root, who may everything:
# groups:
#   editor:
#     users: [anna]
#     unix_groups: [editors]
#     permissions: [snippet_read, snippet_write, schema_read, registry_read, search_read, system_stats, plugin_send]

# What plugins are told, over the settings in their plugin.yaml:
# plugins:
#   simple-seo:
#     settings: {}
#     limits: {memory: 8MB}
#   ai-core:
#     network: [443]                 # TCP ports that it may connect to, if its plugin.yaml asks for the network
"""

REGISTRY = """\
# Which plugins may run, and as what. One row, one plugin; lines with # are comments.
#   plugin_type           lua | native
#   socket_path           below /tmp/reed-cms it moves along with the runtime folder
#   required_permissions  snippet_read snippet_write schema_read schema_write registry_read registry_write
#                         search_read search_write system_stats file_write plugin_send snippet_restore
#   user_groups           the groups of people (reed.yaml) who may send to it; an admin always may
#   auto_start            true: it starts with the core
# `reed plugin reload` reads this again; a mistake is named with its line and column, and changes nothing.
plugin_name,plugin_type,socket_path,version,required_permissions,user_groups,auto_start,description
simple-seo,lua,/tmp/reed-cms/plugins/simple-seo.sock,1.2.0,"snippet_read","editor,admin",false,"SEO validation (LUA)"
form-validator,lua,/tmp/reed-cms/plugins/form-validator.sock,2.1.0,"snippet_read","editor",false,"Form validation (LUA)"
"""

FILES = {"reed.yaml": REED_YAML, "plugin-registry.csv": REGISTRY}


def make(folder: str) -> tuple[list[str], list[str]]:
    """Write what is missing; the paths that were made, and those that were there and stay as they are."""
    made: list[str] = []
    kept: list[str] = []
    os.makedirs(folder, exist_ok=True)
    for name, text in FILES.items():
        path = os.path.normpath(os.path.join(folder, name))
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            kept.append(path)
        else:
            made.append(path)
    plugins = os.path.normpath(os.path.join(folder, "plugins"))
    try:
        os.mkdir(plugins)
    except FileExistsError:
        kept.append(plugins)
    else:
        made.append(plugins)
    return made, kept
