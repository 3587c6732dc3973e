"""Makes the checks of `reed doctor`, and prints what they find.

A check that fails becomes a finding itself, and the other checks are still made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reed.cli.doctor import Finding, machine
from reed.cli.doctor.site import Site
from reed.cli.output import Output, paint
from reed.cli.parse import Args
from reed.errors import ReedError
from reed.figures import plural
from reed.system_calls import describe
from reed.text import safe


def doctor(args: Args, output: Output) -> int:
    site = Site(args)
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "settings": site.settings,
        "core": site.core,
        "kernel": machine.kernel,
        "container": lambda: machine.container(site.pid, site.config),
        "limits": lambda: machine.limits(site.pid),
        "sandbox": lambda: machine.sandbox(site.config),
        "versions": lambda: machine.versions(site.config, site.core_version),
        "folders": site.folders,
        "store": site.store,
        "registry": site.registry,
    }
    found = [(section, finding) for section, check in checks.items() for finding in _run(check)]
    errors, warnings = (sum(each.level == level for _, each in found) for level in ("error", "warning"))
    rows = [{"section": section, **finding._asdict()} for section, finding in found]
    if output.is_interactive:
        _print(found, output)
        output.info(f"\n{plural(errors, 'error')}, {plural(warnings, 'warning')}")
    else:
        value = {"errors": errors, "warnings": warnings, "checks": rows}
        output.show(value, "", [list(row.values()) for row in rows])
    return 1 if errors else 0


def _run(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in check():
            found.append(finding)  # what was found before an error counts
    except ReedError as error:
        what = str(error).removesuffix(f"; {error.hint}")
        found.append(Finding("error", what, "what follows it cannot be checked", error.hint or "see the message"))
    except OSError as error:
        found.append(Finding("warning", describe(error), "this cannot be checked by this user", "run it as root"))
    return found


def _print(found: list[tuple[str, Finding]], output: Output) -> None:
    last = ""
    for section, finding in found:
        if section != last:
            output.stream.write(f"{chr(10) if last else ''}{section}\n")
            last = section
        output.stream.write(f"  {paint(output.stream, f'{finding.level:8}')} {safe(finding.what)}\n")
        for text in filter(None, (finding.meaning, finding.fix and f"→ {finding.fix}")):
            output.stream.write(f"           {safe(text)}\n")
