#!/usr/bin/env bash
# Quantized weights on 64-bit ARM: the same bytes as here. Cross-compiled and run by qemu; skipped
# where either is missing.
set -u
cd "$(dirname "$0")/../.." || exit 2
cc=aarch64-linux-gnu-gcc
native=build/release/tests/kernels/check_quantize
program=build/aarch64/tests/kernels/check_quantize
run=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
if ! command -v "$cc" >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    echo "1..1"
    echo "ok 1 - quantizing on aarch64 # SKIP no $cc or no qemu-aarch64"
    exit 0
fi
failed=0
report() { # NUMBER TITLE STATUS
    [ "$3" -eq 0 ] && echo "ok $1 - $2" && return
    failed=1
    echo "not ok $1 - $2"
}
mkdir -p build
# aarch64.sh builds in the same place at the same time
flock build/aarch64.lock make CC="$cc" ARCH=aarch64 CONFIG=aarch64 CFLAGS=-O1 "$program" >&2
report 1 "check_quantize compiles for aarch64" $?
"${run[@]}" "$program" | sed 's/^/# /'
report 2 "check_quantize passes on aarch64" "${PIPESTATUS[0]}"
here=$("$native" --digest | sort -u)
there=$("${run[@]}" "$program" --digest | sort -u)
echo "# $here here, $there there"
[[ "$here" =~ ^[0-9a-f]{16}$ && "$here" == "$there" ]]
report 3 "the same bytes here and on aarch64" $?
echo "1..3"
exit $failed
