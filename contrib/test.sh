#!/bin/sh
# Test reed as it will be installed, from nothing: sh contrib/test.sh [PYTEST ARGUMENT…]
#
#   checkout ── sdist ── wheel ── a venv in a temporary folder ── the tests, where this checkout's reed/ is out of reach
#
# Needs Python 3.11 or later and the network (or a pip that knows another place for packages). PYTHON names the Python
# to use, REED_PAGES a file of real pages for the tests that want one, REED_AXE the axe.min.js of axe-core. Where
# PostgreSQL is installed tests/postgres runs servers of its own; with Go too it checks histories of several cores,
# REED_HISTORIES=N of N operations. Where Chromium is installed tests/web uses it.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/reed-test.XXXXXX")
postgres=
trap 'if [ -n "$postgres" ]; then kill "$postgres" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s\n' "contrib/test.sh: $*" >&2; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if is_new_enough "$name"; then command -v "$name"; return; fi
    done
}

say "a venv of its own"
python=$(find_python)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq python3 python3-venv </dev/null >/dev/null
    python=$(find_python)
fi
[ -n "$python" ] || die "Python 3.11 or later is missing; install python3 and python3-venv, or name one: PYTHON=/path/to/python3"
if ! "$python" -m venv "$work/venv" >"$work/venv.log" 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv </dev/null >/dev/null
    fi
    rm -rf "$work/venv"
    "$python" -m venv "$work/venv" >"$work/venv.log" 2>&1 ||
        { cat "$work/venv.log"; die "$python cannot make a venv; as root: apt-get install python3-venv"; }
fi
venv=$work/venv/bin/python
echo "$("$venv" --version) from $python"

say "sdist, and from it the wheel"
"$venv" -m pip install --quiet --disable-pip-version-check build
mkdir "$work/source"
(cd "$root" && tar -cf - --exclude=.git --exclude=./build --exclude='*.egg-info' --exclude=__pycache__ --exclude=.mypy_cache \
    --exclude=.ruff_cache --exclude=.hypothesis --exclude=.pytest_cache --exclude=./data --exclude=target . ) | (cd "$work/source" && tar -xf -)
(cd "$work/source" && "$venv" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1) ||
    { tail -40 "$work/build.log"; die "the build failed"; }
ls "$work/dist"
"$venv" - "$work/source" "$work"/dist/*.whl <<'PYTHON'
"""Every file of the package must be in the wheel."""
import sys
import zipfile
from pathlib import Path

root, wheel = Path(sys.argv[1]), set(zipfile.ZipFile(sys.argv[2]).namelist())
wanted = {path.relative_to(root).as_posix() for path in (root / "reed").rglob("*") if path.is_file() and path.name != ".gitignore"}
plugins = root / "contrib" / "plugins"
wanted |= {"reed/plugins/" + path.relative_to(plugins).as_posix() for path in plugins.rglob("*") if path.is_file()}
missing = sorted(wanted - wheel)
if missing:
    sys.exit("missing from the wheel (packages and package_data in setup.cfg): " + ", ".join(missing))
print(f"all {len(wanted)} files of the package are in the wheel")
PYTHON

say "install the wheel"
"$venv" -m pip install --quiet --disable-pip-version-check "$(ls "$work"/dist/*.whl)[test]"
if ! "$venv" -m pip install --quiet --disable-pip-version-check "$(ls "$work"/dist/*.whl)[postgres]"; then
    echo "left out: psycopg cannot be installed, and so nothing of PostgreSQL is tested"
fi
if ! "$venv" -m pip install --quiet --disable-pip-version-check "$(ls "$work"/dist/*.whl)[web]"; then
    echo "left out: Starlette, uvicorn or Jinja2 cannot be installed, and so nothing of reed web is tested"
fi
if ! "$venv" -m pip install --quiet --disable-pip-version-check "$(ls "$work"/dist/*.whl)[markdown]"; then
    echo "left out: markdown-it-py or mdit-py-plugins cannot be installed, and so reed import --markdown and the example contrib/examples/site are not tested"
fi
if ! "$venv" -m pip install --quiet --disable-pip-version-check "$(ls "$work"/dist/*.whl)[examples]"; then
    echo "left out: FastAPI or Django cannot be installed, and so their examples in contrib/examples are not tested"
fi
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    echo "left out: Chromium is not here, so reed web is not tested in a browser; Debian: apt-get install chromium chromium-driver"
elif ! "$venv" -m pip install --quiet --disable-pip-version-check 'selenium>=4'; then
    echo "left out: selenium cannot be installed, so reed web is not tested in a browser"
elif [ -z "${REED_AXE:-}" ]; then
    if command -v npm >/dev/null && (cd "$work" && npm pack --silent axe-core && tar -xzf axe-core-*.tgz) >"$work/npm.log" 2>&1; then
        REED_AXE=$work/package/axe.min.js
        export REED_AXE
    else
        echo "left out: axe-core cannot be had from npm, so the accessibility of reed web is not tested; or REED_AXE=FILE"
    fi
fi
PATH=$work/venv/bin:$PATH
export PATH

say "the tests, against the installed wheel"
mkdir "$work/run"
for part in tests bench contrib setup.cfg pyproject.toml LICENSE README.md SECURITY.md CHANGELOG.md plugin-registry.csv; do
    if [ -e "$work/source/$part" ]; then cp -R "$work/source/$part" "$work/run/"; fi
done
rm -rf "$work/source"
if [ -z "${REED_PAGES:-}" ] && [ -f "$root/../shared/data/pages.jsonl" ]; then
    REED_PAGES=$(cd "$root/../shared/data" && pwd)/pages.jsonl
fi
if [ -n "${REED_PAGES:-}" ]; then export REED_PAGES; else echo "no REED_PAGES: the tests on real pages are skipped"; fi
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null; then
    echo "left out: PostgreSQL is not here, so cores with the store postgres are not tested; Debian: apt-get install postgresql"
elif ! command -v go >/dev/null; then
    echo "left out: Go is not here, so no history of several cores is checked; Debian: apt-get install golang-go"
fi
cd "$work/run"
unset PYTHONPATH
if [ $# != 0 ]; then
    "$venv" -m pytest -q -p no:cacheprovider "$@" </dev/null
else
    # Tests of PostgreSQL mostly wait, so they run beside the others.
    sh contrib/test_twice.sh "$venv" tests/postgres >"$work/postgres.log" 2>&1 &
    postgres=$!
    status=0
    sh contrib/test_twice.sh "$venv" --ignore=tests/postgres || status=$?
    wait $postgres || status=$?
    say "the tests of PostgreSQL, which ran beside the others"
    cat "$work/postgres.log"

    say "who is who, once more with no_new_privs for everybody, as in many containers"
    if command -v setpriv >/dev/null; then
        setpriv --no-new-privs sh contrib/test_twice.sh "$venv" tests/faults/test_identity.py \
            tests/faults/test_descendants.py tests/system/test_restart.py tests/supervision/test_supervisor.py || status=$?
    else
        echo "left out: setpriv (util-linux) is not here"
    fi
    say "processes and their ends, once more as PID 1 with SIGINT ignored, as in a container"
    if unshare --pid --fork --mount-proc true 2>/dev/null; then
        sh contrib/test_twice.sh --as-pid-1 "$venv" tests/supervision tests/sandbox || status=$?
    else
        echo "left out: no PID namespace can be made here"
    fi
    exit $status
fi
