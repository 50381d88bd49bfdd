#!/bin/sh
# Runs fuzz targets with libFuzzer, a while each. New inputs stay in build/fuzz/corpus; what crashes
# is left in build/fuzz and belongs, made small, into tests/fuzz/corpus together with its fix.
#
#     scripts/fuzz.sh SECONDS NAME...
set -eu
seconds=$1
shift
for name in "$@"; do
    found=build/fuzz/corpus/$name
    mkdir -p "$found"
    echo "== $name, $seconds s"
    "build/fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -print_final_stats=1 -verbosity=0 -artifact_prefix="build/fuzz/$name-" \
        "$found" "tests/fuzz/corpus/$name"
done
