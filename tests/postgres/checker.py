"""Checks of a history (see `history`): what is certain is looked at here, the rest is decided by porcupine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from tests.postgres.history import Operation, owner

STALE = 1.0  # seconds
FOLDER = Path(__file__).parent / "porcupine"


@dataclass
class Report:
    operations: int = 0
    parts: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    longest: float = 0.0  # seconds, of operations that were answered


def check(history: Sequence[Operation], build: Callable[[], Path], drawings: Path, *, owners: int = 0) -> Report:
    """`owners`: the number of cores, of which only one writes a name, and reads it as it is; 0: every core writes, and
    every read may be old. `build` gives the checker; drawings of what is wrong go to `drawings`."""
    drawings.mkdir(parents=True, exist_ok=True)
    (drawings / "all.jsonl").write_text(_lines(history))
    failed = [each for each in history if each.outcome == "failed"]
    assert not failed, f"{len(failed)} errors, the first: {failed[0]}"
    check_connections(history)
    known = [each for each in history if each.outcome != "refused" and (each.operation, each.outcome) != READ_UNKNOWN]
    exact = [each for each in known if owners and (each.operation != "get" or each.core == owner(each.key, owners))]
    if exact:
        _run_checker(narrowed(exact), build(), drawings / "exact")
    else:
        _run_checker([each for each in known if each.operation != "get"], build(), drawings / "writes")
    parts = _run_checker(narrowed(may_be_old(known)), build(), drawings / "old")
    counts = Counter(each.outcome for each in history)
    longest = max((each.end - each.begin for each in history if each.outcome != "unknown"), default=0) / 1e9
    return Report(len(history), parts, dict(counts), longest)


READ_UNKNOWN = ("get", "unknown")


def may_be_old(history: Sequence[Operation]) -> list[Operation]:
    """The same with reads that begin STALE earlier, but not before the connection's last write of that name began."""
    last_writes: dict[tuple[int, str], int] = {}
    found = []
    for each in sorted(history, key=lambda each: each.begin):
        if each.operation == "get":
            earliest = last_writes.get((each.connection, each.key), 0)
            found.append(replace(each, begin=max(each.begin - int(STALE * 1e9), earliest)))
            continue
        if each.outcome == "ok":
            last_writes[each.connection, each.key] = each.begin  # it took effect since; check_connections does the rest
        found.append(each)
    return found


class Evidence:
    """When each version of one name may have been current, by what is certain. Without it the checker takes long."""

    def __init__(self, history: Sequence[Operation]) -> None:
        self._written: dict[tuple[str, int | None], int] = {}  # when the write of a value began
        self._newer: dict[str, list[tuple[int, int]]] = {}  # version, when it was certainly there; by id
        self._there: dict[str, int] = {}  # since when a snippet was certainly there
        self._gone: dict[str, int] = {}  # when its delete began
        self._last = max((each.end for each in history), default=0)
        unknown = [each.begin for each in history if (each.operation, each.outcome) == ("delete", "unknown")]
        for each in history:
            if each.operation in {"create", "update"}:
                self._written |= dict.fromkeys((("a", each.a), ("b", each.b)), each.begin)
            if each.outcome != "ok":
                continue
            version = {"create": 1, "update": each.if_version + 1, "delete": 1 << 62}.get(each.operation, each.version)
            self._newer.setdefault(each.id, []).append((version, each.end))
            if each.operation == "delete":
                self._gone[each.id] = min(self._gone.get(each.id, each.begin), each.begin)
            else:
                self._there[each.id] = min(self._there.get(each.id, each.end), each.end)
        for snippet_id, since in self._there.items():
            later = [begin for begin in unknown if begin >= since]
            earlier = self._last + 1 if len(later) == len(unknown) else since  # one that began before may come late
            self._gone[snippet_id] = min([self._gone.get(snippet_id, self._last + 1), earlier, *later])

    def narrow(self, read: Operation) -> Operation:
        """Its times narrowed to when it can have been right; AssertionError if that is never."""
        begin, end = (self._absent if read.outcome == "not_found" else self._current)(read)
        assert begin <= end, f"not linearizable: this was not current then: {read}"
        return replace(read, begin=begin, end=end)

    def _current(self, read: Operation) -> tuple[int, int]:
        values = [("a", read.a), ("b", read.b)]
        begins = [self._written[value] for value in values if value[1] is not None and value in self._written]
        ends = [end for version, end in self._newer.get(read.id, ()) if version > read.version]
        return max([read.begin, *begins]), min([read.end, *ends])

    def _absent(self, read: Operation) -> tuple[int, int]:
        begin, end = read.begin, read.end
        there = sorted((since, self._gone[snippet_id]) for snippet_id, since in self._there.items())
        for since, until in there:
            if since < begin < until:
                begin = until
        for since, until in reversed(there):
            if since < end < until:
                end = since
        return begin, end


def narrowed(history: Sequence[Operation]) -> list[Operation]:
    by_key: dict[str, list[Operation]] = {}
    for each in history:
        by_key.setdefault(each.key, []).append(each)
    found = []
    for operations in by_key.values():
        evidence = Evidence(operations)
        for each in operations:
            is_checked = each.operation == "get" or each.outcome == "not_found"
            found.append(evidence.narrow(each) if is_checked else each)
    return without_implied(found)


def without_implied(history: Sequence[Operation]) -> list[Operation]:
    """Without reads that are right if another is: that saw the same, and whose time lies within theirs."""
    found = []
    latest: dict[tuple[object, ...], int] = {}  # begin of those that are kept, by what they saw
    for each in sorted(history, key=lambda each: (each.end, -each.begin)):
        what = (each.key, each.id, each.version, each.a, each.b)
        if each.operation == "get" and latest.get(what, -1) >= each.begin:
            continue
        if each.operation == "get":
            latest[what] = each.begin
        found.append(each)
    return found


def _versions_of_writes(history: Sequence[Operation]) -> dict[tuple[str, int | None, int | None], int]:
    """The version that an update of both fields made, by id and values, if it was read: no other version has both."""
    return {
        (each.id, each.a, each.b): each.version for each in history if each.operation == "get" and each.a and each.b
    }


def check_connections(history: Sequence[Operation]) -> None:
    """Within one connection no version of a snippet goes back, and no snippet that was gone comes again."""
    made = _versions_of_writes(history)
    seen: dict[tuple[int, str], list[Operation]] = {}
    gone: dict[tuple[int, str], set[str]] = {}
    for each in sorted(history, key=lambda each: each.begin):
        where = (each.connection, each.key)
        before = seen.setdefault(where, [])
        buried = gone.setdefault(where, set())
        if each.outcome == "not_found" or (each.operation, each.outcome) == ("delete", "ok"):
            buried.update(one.id for one in before)
            buried.update({each.id} - {""})
            before.clear()
        elif each.outcome == "ok":
            assert each.id not in buried, f"it was gone before on this connection: {each}"
            if before and before[-1].id != each.id:
                buried.update(one.id for one in before)
                before.clear()
            newest = before[-1].version if before else 0
            least = max(newest + 1, 2, made.get((each.id, each.a, each.b), 0))
            version = {"create": 1, "update": least}.get(each.operation, each.version)
            assert version >= newest, f"version {newest} was seen before on this connection: {each}"
            before[:] = [replace(each, version=version)]


def _run_checker(history: Sequence[Operation], program: Path, drawings: Path) -> int:
    """What is unknown, and was seen by nobody, most likely never happened: a history that is right without it is right.
    The names that are not are checked again with all of it."""
    doubtful = _check_lines(bounded(history, keep_unseen=False), program, drawings)
    again = bounded([each for each in history if each.key in doubtful], keep_unseen=True)
    wrong = _check_lines(again, program, drawings) if again else {}
    # Answers that say no fit many places in the order. Where that takes too long, writes and reads decide alone; what
    # was not found is held against what was certainly there in any case (`Evidence`).
    late = [
        each for each in again if wrong.get(each.key) == "undecided" and each.outcome not in {"conflict", "not_found"}
    ]
    if late:
        wrong = {key: why for key, why in wrong.items() if why == "illegal"} | _check_lines(late, program, drawings)
    if wrong:
        (drawings / "wrong.jsonl").write_text(_lines([each for each in history if each.key in wrong]))
    assert "illegal" not in wrong.values(), f"not linearizable: {wrong}; drawn in {drawings}"
    assert not wrong, f"took too long to decide: {wrong}; see {drawings}"
    return len({each.key for each in history})


def bounded(history: Sequence[Operation], *, keep_unseen: bool) -> list[Operation]:
    """An unknown write whose value was read has ended by the end of that read."""
    ends: dict[tuple[str, str, int], int] = {}
    for each in history:
        if each.operation == "get" and each.outcome == "ok":
            for place, value in (("a", each.a), ("b", each.b)):
                if value is not None:
                    where = (each.key, place, value)
                    ends[where] = min(ends.get(where, each.end), each.end)
    found: list[Operation] = []
    for each in history:
        if each.outcome != "unknown":
            found.append(each)
            continue
        seen = [ends[key] for key in ((each.key, "a", each.a), (each.key, "b", each.b)) if key in ends]  # type: ignore[index]
        if seen:
            found.append(replace(each, outcome="late", end=max(min(seen), each.begin)))
        elif keep_unseen:
            found.append(each)
    return found


def _lines(history: Sequence[Operation]) -> str:
    return "".join(json.dumps(asdict(each)) + "\n" for each in sorted(history, key=lambda each: each.begin))


def _check_lines(history: Sequence[Operation], program: Path, drawings: Path) -> dict[str, str]:
    """The names whose part is not linearizable ("illegal"), or that take too long ("undecided")."""
    drawings.mkdir(parents=True, exist_ok=True)
    (drawings / "history.jsonl").write_text(_lines(history))
    with (drawings / "history.jsonl").open() as lines:
        done = subprocess.run([program, drawings], stdin=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["operations"] == len(history)
    return {**dict.fromkeys(report["illegal"], "illegal"), **dict.fromkeys(report["undecided"], "undecided")}


def build_checker(folder: Path) -> Path:
    """Builds porcupine/ once; skips the test where that cannot be done."""
    program = folder / "check-history"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not here: no history is checked by porcupine (Debian: apt-get install golang-go)")
    loaded = subprocess.run([go, "mod", "download"], cwd=FOLDER, capture_output=True, text=True, check=False)
    if loaded.returncode:
        pytest.skip(f"porcupine cannot be loaded, so no history is checked: {loaded.stderr.strip()[-300:]}")
    built = subprocess.run(
        [go, "build", "-buildvcs=false", "-o", program, "."], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return program
