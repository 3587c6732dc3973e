"""`reed web`."""

from __future__ import annotations

from reed.cli.options import runtime_dir
from reed.cli.output import Output
from reed.cli.parse import Args, Option, Subcommand
from reed.client import core_socket
from reed.errors import ReedError

_DEFAULT_LISTEN = "127.0.0.1:8420"
_PACKAGES = {"anyio", "jinja2", "starlette", "uvicorn"}


def web(args: Args, output: Output) -> int:
    try:
        from reed.web import server
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise ReedError(f"reed web requires the package {error.name}", hint="pip install 'reed-cms[web]'") from None

    listening = server.listen(args.text("--listen") or _DEFAULT_LISTEN, args.texts("--host"))

    def announce(link: str) -> None:
        where = f" through {listening.path}" if listening.path else ""
        output.info(f"reed web serves {listening.origin}{where}; this link signs in once:")
        if output.as_json:
            output.json({"link": link})
        else:
            output.stream.write(f"{link}\n")
        output.stream.flush()

    server.serve(listening, core_socket(runtime_dir(args)), announce)
    return 0


SUBCOMMANDS = {
    "web": Subcommand(
        web,
        "",
        "Serve pages for a browser on this machine: overview, plugins, content, search, monitor",
        (
            Option("--listen", "ADDRESS", f"HOST:PORT of this machine, or unix:PATH ({_DEFAULT_LISTEN})"),
            Option("--host", "NAME", "a further name in the header Host, such as that of a proxy", many=True),
        ),
        """
Prints a link that signs in once, on a line of its own; SIGUSR1 prints another. The page has the permissions of the user
who runs this command. SIGTERM and Ctrl-C end it. Requires: pip install 'reed-cms[web]'.""",
    ),
}
