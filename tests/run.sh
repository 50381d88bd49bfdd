#!/usr/bin/env bash
# Runs suites of tests and sums them up. Every test program prints TAP; programs run one per
# processor at a time, and their output is kept under build/test-results.
#
#     tests/run.sh SUITE...      suites: unit kernels fuzz cli golden web surface asan
#
# The last line is "N passed, N failed, N skipped"; exit 1 if anything failed. A program that
# crashes, prints no plan, or runs fewer tests than planned counts as one more failure, and so does
# one that takes longer than TEST_SECONDS (1200): exit status 124.
set -u
cd "$(dirname "$0")/.." || exit 2

export SLM_BIN="${SLM_BIN:-bin}" SLM_SHARED="${SLM_SHARED:-../shared}"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
results=build/test-results
jobs="${JOBS:-$(nproc)}"
rm -rf "$results"
mkdir -p "$results"
list=$results/jobs
: >"$list"

add() { # NAME COMMAND: NAME becomes a file name
    printf '%s\t%s\n' "${1//\//_}" "$2" >>"$list"
}

add_programs() { # SUITE BUILD_DIR SOURCE_PATTERN
    local source program
    for source in $3; do
        [ -e "$source" ] || continue
        program=$2/${source%.c}
        add "$1/$(basename "${source%.c}")" "$program"
    done
}

add_fuzz() { # SUITE BUILD_DIR
    local source name
    for source in tests/fuzz/fuzz_*.c; do
        [ -e "$source" ] || continue
        name=$(basename "${source%.c}")
        name=${name#fuzz_}
        add "$1/$name" "$2/tests/fuzz/replay_$name tests/fuzz/corpus/$name"
    done
}

add_bats() { # SUITE FOLDER [BIN]
    local file
    for file in "$2"/*.bats; do
        [ -e "$file" ] || continue
        add "$1/$(basename "${file%.bats}")" "${3:+SLM_BIN=$3 }bats --tap $file"
    done
}

add_suite() {
    local browser
    case $1 in
    unit) add_programs unit build/release 'tests/unit/test_*.c' ;;
    kernels)
        add_programs kernels build/release 'tests/kernels/check_*.c'
        add kernels/aarch64 tests/kernels/aarch64.sh
        add kernels/quantize_aarch64 tests/kernels/quantize_aarch64.sh
        ;;
    fuzz) add_fuzz fuzz build/release ;;
    cli) add_bats cli tests/cli ;;
    golden) add_bats golden tests/golden ;;
    web)
        add web/node "node tests/web/node.mjs"
        add web/cycles "node tests/web/cycles.mjs"
        add web/sessions "node tests/web/sessions.mjs"
        add web/variants "node tests/web/variants.mjs"
        add web/serving "node tests/web/serving.mjs"
        for browser in chromium firefox; do
            add web/browser_$browser "node tests/web/browser.mjs $browser"
            add web/page_$browser "node tests/web/page.mjs $browser"
        done
        ;;
    surface)
        add surface/headers tests/surface/headers.sh
        add surface/symbols tests/surface/symbols.sh
        add surface/budget tests/surface/budget.sh
        add surface/driver tests/surface/summary.sh
        ;;
    asan)
        add_programs asan-unit build/asan 'tests/unit/test_*.c'
        add_programs asan-kernels build/asan 'tests/kernels/check_*.c'
        add_fuzz asan-fuzz build/asan
        add_bats asan-cli tests/cli build/asan/bin
        ;;
    *)
        echo "tests/run.sh: no suite is called '$1'" >&2
        exit 2
        ;;
    esac
}

run_one() { # NAME COMMAND, from xargs
    local start=$SECONDS code=0
    timeout --foreground -k 10 "${TEST_SECONDS:-1200}" bash -c "$2" </dev/null \
        >"$results/$1.tap" 2>"$results/$1.err" || code=$?
    awk -v name="$1" -v code="$code" -v seconds="$((SECONDS - start))" \
        -f tests/summary.awk "$results/$1.tap" >"$results/$1.sum"
    tail -n 1 "$results/$1.sum"
    if ! grep -q ', 0 failed' "$results/$1.sum"; then
        sed '$d' "$results/$1.sum"
        tail -n 30 "$results/$1.err" | sed 's/^/    | /'
    fi
}
export -f run_one
export results

for suite in "$@"; do
    add_suite "$suite"
done
tr '\n' '\0' <"$list" | xargs -0 -P "$jobs" -I '{}' \
    bash -c 'IFS=$'"'\\t'"' read -r name command <<<"$1"; run_one "$name" "$command"' _ '{}'

skips=$(grep -h '^  skipped' "$results"/*.sum | sed 's/^  skipped.*: //' | sort | uniq -c)
if [ -n "$skips" ]; then
    echo "skipped, by reason:"
    echo "$skips"
fi
awk '/ passed, / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
            if ($i ~ /^skipped/) skipped += $(i - 1)
        }
    }
    END {
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed != 0 || passed == 0
    }' "$results"/*.sum
