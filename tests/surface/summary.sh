#!/usr/bin/env bash
# The test driver tells the truth: what summary.awk counts for programs that pass, fail, skip,
# crash, stop early or say nothing.
set -u
cd "$(dirname "$0")/../.." || exit 2
n=0
failed=0

counts() { # TITLE EXIT_STATUS TAP EXPECTED_COUNTS
    local line
    n=$((n + 1))
    line=$(printf '%b' "$3" | awk -v name=x -v code="$2" -v seconds=0 -f tests/summary.awk |
        tail -n 1 | sed 's/^x *//; s/  (.*//')
    if [ "$line" = "$4" ]; then
        echo "ok $n - $1"
    else
        failed=1
        echo "# got: $line; expected: $4"
        echo "not ok $n - $1"
    fi
}

counts "all pass" 0 '1..2\nok 1 a\nok 2 - b\n' '2 passed, 0 failed, 0 skipped'
counts "one fails" 1 'ok 1 - a\n# why\nnot ok 2 - b\n1..2\n' '1 passed, 1 failed, 0 skipped'
counts "a failure counts whatever the exit status" 0 'not ok 1 - a\n1..1\n' \
    '0 passed, 1 failed, 0 skipped'
counts "one is skipped" 0 'ok 1 a # skip no data\nok 2 b\n1..2\n' '1 passed, 0 failed, 1 skipped'
counts "all are skipped" 0 '1..0 # SKIP no data\n' '0 passed, 0 failed, 1 skipped'
counts "a crash after good tests" 139 'ok 1 - a\n' '1 passed, 1 failed, 0 skipped'
counts "a bad exit status after good tests" 1 'ok 1 - a\n1..1\n' '1 passed, 1 failed, 0 skipped'
counts "fewer tests than planned" 0 '1..3\nok 1 a\nok 2 b\n' '2 passed, 1 failed, 0 skipped'
counts "silence" 0 '' '0 passed, 1 failed, 0 skipped'
echo "1..$n"
exit $failed
