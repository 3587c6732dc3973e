#!/bin/sh
# All that can go wrong, on purpose, and one table of it: fault, times injected, what was expected, what was lost.
#
#   sh contrib/faults.sh         as CI does it, some two minutes
#   sh contrib/faults.sh 60      sixty times as much, a ten-minute soak among it: hours
#
# Needs what the tests need (pip install '.[test]'); PYTHON names the Python that has it. As root it also fills small disks
# and comes as other users; strace records the writes for the power cuts. What cannot be done here is said at the end.
# Its exit status is not 0 when something was lost, or when other clients' reads took longer than 50 ms (p99).
set -eu

cd "$(dirname "$0")/.."
exec env REED_FAULTS="${1:-1}" REED_FAULTS_P99=1 "${PYTHON:-python3}" -m pytest -q -p no:cacheprovider tests/faults
