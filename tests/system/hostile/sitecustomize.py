"""In the zygote of a test: the Lua plugin `hostile` has broken out of Lua, and runs Python in its confined process."""

import sys

if "reed.zygote" in sys.orig_argv:
    import json
    import os

    from reed.plugin_host.host import Host

    serve = Host.run

    def run(self, spec, connect):
        if spec.name == "hostile":
            sys.path.insert(0, spec.folder)
            import attempts

            found = attempts.results(json.loads(spec.for_sdk)["settings"])
            os.write(1, b"ATTEMPTS " + json.dumps(found).encode() + b"\n")
        serve(self, spec, connect)

    Host.run = run
