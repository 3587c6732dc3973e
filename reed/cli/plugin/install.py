"""`reed plugin add`, `upgrade` and `remove`: they show what changes, ask, change folder and row in one step, and let a
running core apply it; if the plugin fails there, the change is undone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from reed.cli.output import Output, pad, print_error, short_path, width
from reed.cli.parse import Args
from reed.cli.plugin.site import PluginSite
from reed.errors import ReedError, nearest
from reed.plugin_packages.request import Request, added, dropped, granted_after, request_of
from reed.plugin_packages.source import Kind, Package, copied, find, is_same
from reed.supervision.installation import Staging, Target
from reed.supervision.registry_edit import changed_line, find_line
from reed.supervision.schedule import problems
from reed.text import safe


def add(args: Args, output: Output) -> None:
    site = PluginSite(args)
    source = find(args.arg("PLUGIN"), site.config.plugin_dirs)
    is_in_place = source.kind is Kind.IN_PLACE
    with Staging(source.path.parent if is_in_place else site.folder) as staging:
        package = copied(source, staging.new)
        name, request = package.name, request_of(package.manifest, package.type)
        _check_new(site, package, is_in_place=is_in_place)
        if not args.has("--dry-run"):
            _require_terminal(args, output)
        groups = sorted({"admin", *args.texts("--group")})
        line = site.new_line(package, request, groups, auto_start=args.has("--start"))
        _show_request(output, package, request, f"{source.kind}: {source.path}", groups)
        for problem in problems(package.manifest.schedules):
            print_error(f"warning: {problem}")
        result: dict[str, Any] = {
            "name": name,
            "version": package.manifest.version,
            "type": package.type.name,
            "source": str(source.kind),
            "asks_for": request.as_json(),
            "row": line,
        }
        if args.has("--dry-run"):
            output.show({**result, "result": "not added"}, "nothing was changed (--dry-run)", request.lines())
            return
        _require(args, output, f"Add {name}, with these permissions?")
        if is_in_place:
            target = staging.present(name, site.registry)._replace(row=line)
        else:
            target = staging.target(name, site.registry, line)
        outcome = _change(site, staging, package, target)
    place = site.place(name)
    following = f"next: {_next(place, package, outcome, starts_with_core=args.has('--start'))}"
    lines = [
        f"{name} was added: {place}, row in {short_path(site.registry)}",
        f"{name} is running" if outcome == "started" else following,
    ]
    output.done("\n".join(lines), {**result, "folder": place, "result": outcome or "added"})


def _check_new(site: PluginSite, package: Package, *, is_in_place: bool) -> None:
    row = site.row(package.name)
    if row is not None:
        hint = f"`reed plugin upgrade {package.name}` replaces it by another version"
        raise ReedError(f"{package.name} has a row already: {short_path(site.registry)}:{row.line}", hint=hint)
    place = site.folder / package.name
    if not is_in_place and place.exists():
        hint = f"`reed plugin add {package.name}` adds it as it is; to replace it, remove the folder first"
        raise ReedError(f"{short_path(place)} exists already", hint=hint)


def _show_request(output: Output, package: Package, request: Request, origin: str, groups: list[str]) -> None:
    found = package.manifest
    output.info(f"{found.name} {found.version} ({package.type.name}, {origin})")
    if found.description:
        output.info(found.description)
    lines = request.lines()
    output.info("\nIt asks to:" if lines else "\nIt asks for no permissions.")
    _show_lines(output, lines)
    output.info(f"\nIts actions may be called by members of {', '.join(groups)}.\n")


def _next(place: str, package: Package, outcome: str, *, starts_with_core: bool) -> str:
    """The command that starts the plugin. `outcome` is that of `_change`."""
    start = f"reed plugin start {package.name}"
    if not outcome:
        start = "reed start" if starts_with_core else f"reed start, then {start}"
    if not package.entry:
        return f"build it: (cd {place} && cargo build --release), then {start}"
    return start


def upgrade(args: Args, output: Output) -> None:
    site = PluginSite(args)
    source = find(args.arg("PLUGIN"), site.config.plugin_dirs, new_version=True)
    if source.kind is Kind.IN_PLACE:
        raise ReedError(f"{source.path} is the installed plugin", hint="`reed plugin reload` applies its changes")
    with Staging(site.upgrade_folder(source.path)) as staging:
        package = copied(source, staging.new)
        name, request = package.name, request_of(package.manifest, package.type)
        row = site.row(name)
        if row is None:
            raise ReedError(f"{name} has no row in {short_path(site.registry)}", hint="`reed plugin add` adds it")
        old = site.installed(name)
        result: dict[str, Any] = {"name": name, "before": row.version, "version": package.manifest.version}
        if old is not None and package.manifest.version == row.version and is_same(package, old):
            output.done(f"{name} {row.version} is up to date", {**result, "result": "unchanged"})
            return
        before = request_of(old.manifest, old.type) if old else request._replace(permissions=row.required_permissions)
        if not package.entry and site.is_running(name):
            hint = f"`cargo build --release` in its folder, or first `reed plugin stop {name}`"
            raise ReedError(f"{name} {package.manifest.version} is not built", hint=hint)
        more, less = added(before, request, row.required_permissions), dropped(before, request)
        output.info(f"{name} {row.version} → {package.manifest.version} ({source.kind}: {source.path})")
        _show_lines(output, more.lines(), "+ ")
        _show_lines(output, less.lines(), "- ")
        if more.lines():
            _require(args, output, f"Upgrade {name}, which asks for more than before?")
        line = changed_line(
            find_line(site.registry.read_bytes(), name),
            plugin_type=package.type.name,
            version=package.manifest.version,
            required_permissions=",".join(sorted(granted_after(before, request, row.required_permissions))),
        )
        outcome = _change(site, staging, package, staging.target(name, site.registry, line))
    text = "is running" if site.is_running(name) else "will be used by its next start"
    if not package.entry:
        text = f"must be built: (cd {site.place(name)} && cargo build --release)"
    asks = {"added": more.as_json(), "dropped": less.as_json()}
    output.done(f"{name} {package.manifest.version} {text}", {**result, **asks, "result": outcome or "upgraded"})


def _change(site: PluginSite, staging: Staging, package: Package, target: Target) -> str:
    """Carry the change out and let a running core apply it; if the plugin fails there, go back and raise ReedError.

    Returns what the core did: added, started, renewed or updated; "" if no core runs.
    """
    name = package.name
    site.check_line(name, target.row)
    before, ran = staging.present(name, site.registry), site.is_running(name)

    def go_back() -> None:
        staging.decide(before)
        with suppress(ReedError):
            site.reload(name)
        staging.finish()

    try:
        staging.decide(target)
        outcome, reason = site.reload(name)
    except BaseException:
        go_back()
        raise
    if outcome == "failed" and package.entry:
        go_back()
        if ran and not site.is_running(name):
            site.start(name)
        kept = "the old version keeps running"
        raise ReedError(reason.removesuffix(f"; {kept}"), hint=kept if ran else "nothing was changed")
    staging.finish()
    return outcome


def remove(args: Args, output: Output) -> None:
    site, name = PluginSite(args), args.arg("NAME")
    folder = None if args.has("--keep-folder") else site.own_folder(name)
    row = site.row(name)
    if row is None and folder is None:
        hint = nearest(name, site.names()) or "`reed plugin list` shows all"
        raise ReedError(f"no plugin {name!r} in {short_path(site.registry)}", hint=hint)
    _require_terminal(args, output)
    data, purge = site.data_of(name), args.has("--purge")
    goes = [f"its row in {short_path(site.registry)}"] if row else []
    goes += [f"{short_path(folder)} with everything in it"] if folder else []
    goes += [short_path(path) for path in data if purge]
    output.info(f"{name}: this deletes {', '.join(goes)}")
    if data and not purge:
        output.info(f"kept: {', '.join(short_path(path) for path in data)} (--purge deletes it)")
    _require(args, output, f"Remove {name}?")
    site.stop(name)
    with Staging(folder.parent if folder else site.folder) as staging:
        target = staging.present(name, site.registry)
        staging.decide(target._replace(row="", folder=0 if folder else None))
        try:
            site.reload(name)
        except ReedError as error:
            print_error(f"the running core did not apply this: {error}")
        staging.finish()
    if purge:
        site.purge(data)
    value = {"name": name, "folder": str(folder or ""), "purged": [str(path) for path in data if purge]}
    output.done(f"{name} was removed", {**value, "result": "removed"})


def _require(args: Args, output: Output, question: str) -> None:
    """Returns if the answer is yes, or --yes was given. Raises ReedError otherwise."""
    if args.has("--yes"):
        return
    _require_terminal(args, output)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ReedError("nothing was changed")


def _require_terminal(args: Args, output: Output) -> None:
    """Raises ReedError if nobody can be asked. Commands call it before they show anything."""
    if args.has("--yes") or (output.is_interactive and sys.stdin is not None and sys.stdin.isatty()):
        return
    raise ReedError("this needs consent, and there is no terminal to ask", hint="--yes gives it")


def _show_lines(output: Output, lines: Sequence[tuple[str, str]], mark: str = "") -> None:
    """On a terminal: what, and what it means, in two columns."""
    wide = max((width(what) for what, _ in lines), default=0)
    for what, text in lines:
        output.info(f"  {mark}{pad(safe(what), wide)}  {safe(text)}")
