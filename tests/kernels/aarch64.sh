#!/usr/bin/env bash
# The kernels for 64-bit ARM against the reference, cross-compiled and run by qemu; skipped where
# either is missing. On such a machine itself check_kernels does it.
set -u
cd "$(dirname "$0")/../.." || exit 2
cc=aarch64-linux-gnu-gcc
if ! command -v "$cc" >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    echo "1..1"
    echo "ok 1 - kernels for aarch64 # SKIP no $cc or no qemu-aarch64"
    exit 0
fi
program=build/aarch64/tests/kernels/check_kernels
mkdir -p build
# quantize_aarch64.sh builds in the same place at the same time
if ! flock build/aarch64.lock make CC="$cc" ARCH=aarch64 CONFIG=aarch64 CFLAGS=-O1 \
    "$program" >&2; then
    echo "1..1"
    echo "not ok 1 - kernels for aarch64 compile"
    exit 1
fi
exec qemu-aarch64 -L /usr/aarch64-linux-gnu "$program"
