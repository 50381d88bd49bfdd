#!/usr/bin/env bash
# Checks the form of the source: clang-format, sizes (functions up to 60 lines, or 100 with a reason
# in `lint: long because`, files up to 800, lines up to 100 columns), shellcheck, clang-tidy.
#
#     scripts/lint.sh [--format] [--quick]      format in place and end; leave clang-tidy out
set -u
cd "$(dirname "$0")/.." || exit 2
mapfile -t c_files < <(git ls-files --cached --others --exclude-standard '*.c' '*.h')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' '*.bats' .ci/run)
mapfile -t others < <(
    git ls-files --cached --others --exclude-standard '*.js' '*.mjs' '*.ts' '*.py' '*.awk' Makefile)
failed=0

tool() { # NAME...: the first that is there, or a note
    local name
    for name in "$@"; do
        command -v "$name" && return 0
    done
    echo "lint: $1 is not installed; its checks are left out" >&2
    return 1
}

# One formatter version for everybody: Debian 12's own.
if format=$(tool clang-format-14 clang-format); then
    if [ "${1:-}" = --format ]; then
        exec "$format" -i "${c_files[@]}"
    fi
    "$format" --dry-run -Werror "${c_files[@]}" || failed=1
fi

awk -f scripts/sizes.awk "${c_files[@]}" "${others[@]}" "${scripts[@]}" || failed=1

if shellcheck=$(tool shellcheck); then
    for script in "${scripts[@]}"; do
        [ -e "$script" ] && case $script in
        # Bats stops at a failed cd, sets $stderr, and runs each test in a subshell.
        *.bats) "$shellcheck" -S warning -s bats -e SC2030,SC2031,SC2154,SC2164 "$script" ;;
        *) "$shellcheck" -x -e SC2016 "$script" ;;
        esac || failed=1
    done
fi

if [ "${1:-}" != --quick ] && tidy=$(tool clang-tidy-14 clang-tidy); then
    other_targets='^runtime/(kernels/(avx|simd128|relaxed|neon)|quant/search_avx|port/wasm|web/)'
    mapfile -t checked < <(printf '%s\n' "${c_files[@]}" | grep '\.c$' |
        grep -Ev "$other_targets|_tables\.c\$")
    export tidy
    # shellcheck disable=SC2016
    printf '%s\0' "${checked[@]}" | xargs -0 -n 4 -P "$(nproc)" bash -c '"$tidy" --quiet "$@" -- \
        -std=c11 -D_GNU_SOURCE -Iruntime/include -Iruntime -Itools -Itests 2>/dev/null' tidy ||
        failed=1
fi
[ "$failed" -eq 0 ] && echo "lint: good"
exit "$failed"
