#!/bin/sh
# Run the tests; the few that fail are run once more, alone:
#   sh contrib/test_twice.sh [--as-pid-1] PYTHON [PYTEST ARGUMENT…]
#
#   all pass                         0
#   up to 5 fail ── again ─┬─ pass   0, and they are listed as UNSTEADY
#                          └─ fail   1
#   more fail, or an error           the exit code of pytest
#
# Tests have deadlines for processes, browsers and servers, which a busy machine may miss. What is broken fails twice.
# With --as-pid-1 pytest is the first process of a PID namespace, and ignores SIGINT, as in a container.
set -eu

as_pid_1() { unshare --pid --fork --mount-proc sh -c 'trap "" INT; exec "$@"' sh "$@"; }

run=env
if [ "$1" = --as-pid-1 ]; then run=as_pid_1; shift; fi
python=$1
shift
cache=$(mktemp -d "${TMPDIR:-/tmp}/reed-cache.XXXXXX")
trap 'rm -rf "$cache"' EXIT
code=0
$run "$python" -m pytest -q -o cache_dir="$cache" "$@" </dev/null || code=$?
if [ $code != 1 ] || [ "$(grep -c '": true' "$cache/v/cache/lastfailed")" -gt 5 ]; then exit $code; fi

printf '\n== once more, what failed\n'
$run "$python" -m pytest -q -o cache_dir="$cache" --last-failed --last-failed-no-failures none -rp "$@" </dev/null
echo "UNSTEADY: the tests above failed once, and passed in their second attempt"
