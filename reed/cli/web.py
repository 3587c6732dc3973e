"""`reed web`."""

from __future__ import annotations

from reed.cli.options import optional, runtime_dir
from reed.cli.output import Output
from reed.cli.parse import Args, Option, Subcommand, UsageError
from reed.client import core_socket
from reed.errors import ReedError

_DEFAULT_LISTEN = "127.0.0.1:8420"
_MIN_TOKEN, _MAX_TOKEN = 16, 4096  # characters
_PROXY_OPTIONS = ("--trusted-proxy", "--group-header", "--group")


def web(args: Args, output: Output) -> None:
    with optional("reed web", "web", "anyio", "jinja2", "starlette", "uvicorn"):
        from reed.web import listening, server
        from reed.web.proxy import Proxy

    address, header = args.text("--listen") or _DEFAULT_LISTEN, args.text("--user-header")
    proxy = None
    if header:
        group_header, group = args.text("--group-header") or "", args.text("--group") or ""
        is_unix = address.startswith("unix:")
        proxy = Proxy.of(header, group_header, group, args.texts("--trusted-proxy"), is_unix=is_unix)
    elif given := [each for each in _PROXY_OPTIONS if args.has(each)]:
        raise UsageError(f"{given[0]} needs --user-header", hint="without a proxy a link signs in")
    group = args.text("--socket-group") or ""
    listened = listening.listen(address, args.texts("--host"), group=group, behind_proxy=proxy is not None)

    def announce(link: str) -> None:
        where = f" through {listened.path}" if listened.path else ""
        how = f"for users that the proxy names in {header}:" if proxy else "this link signs in once:"
        output.info(f"reed web serves {listened.origin}{where}; {how}")
        if output.as_json:
            output.json({"link": link})
        else:
            output.stream.write(f"{link}\n")
        output.stream.flush()

    token = _metrics_token(args.text("--metrics-token-file"))
    server.serve(listened, core_socket(runtime_dir(args)), announce, proxy, token)


def _metrics_token(path: str | None) -> str:
    if path is None:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        token = file.read(_MAX_TOKEN).strip()
    if len(token) < _MIN_TOKEN or not token.isascii() or not token.isprintable():
        hint = f"openssl rand -hex 32 > {path}"
        raise ReedError(f"{path}: expected a token of at least {_MIN_TOKEN} ASCII characters on one line", hint=hint)
    return token


SUBCOMMANDS = {
    "web": Subcommand(
        web,
        "",
        "Serve pages for a browser on this machine",
        (
            Option("--listen", "ADDRESS", f"HOST:PORT of this machine, or unix:PATH ({_DEFAULT_LISTEN})"),
            Option("--host", "NAME", "a further name in the header Host, such as that of the proxy", many=True),
            Option("--user-header", "HEADER", "a proxy signs users in, and names them in this header"),
            Option("--trusted-proxy", "ADDRESS", "IP address or network of the proxy, or unix", many=True),
            Option("--group", "NAME", "the group in reed.yaml of users that the proxy names no group for"),
            Option("--group-header", "HEADER", "in which the proxy names the group of the user"),
            Option("--metrics-token-file", "FILE", "with a bearer token that opens /metrics without a session"),
            Option("--socket-group", "GROUP", "a Unix group that may also connect to unix:PATH"),
        ),
        """
Prints a link that signs in once, on a line of its own; SIGUSR1 prints another. The pages have the permissions of the
user who runs this command. SIGTERM and Ctrl-C end it. Requires: pip install 'reed-cms[web]'.

Behind a proxy that signs users in, each has the permissions of a group in reed.yaml:

  reed web --listen unix:/run/reed/web.sock --socket-group www-data --host cms.example.org \\
           --user-header X-User --trusted-proxy unix --group editor""",
    ),
}
