"""A core in folders of its own, for tests of plugins and of programs that use reed (testing-your-program.md).

    with reed.testing.core(types={"page": {}}, plugins=["plugins/greeter"]) as core:
        core.client().plugin_send("greeter", "greet", "Anna")

    given          the types, content and plugins that a test asks for
    site           Core: a folder, its registry and settings, and `reed serve` on them; `core` runs one for a block
    rows           registry rows of plugins, made from their manifests
    forked_core    a core for one command: a fork of this process, which starts in half the time

How a core is started, awaited and stopped is in `reed.core_process`. `reed.pytest_plugin` has fixtures of pytest.
"""

from reed.testing.site import Core, core

__all__ = ["Core", "core"]
