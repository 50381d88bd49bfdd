#!/usr/bin/env bash
# What the runtime shows and what it wants, against the lists in this folder: functions of slm.h,
# names of all global symbols, symbols that the native library may take from the system, exports of
# the wasm modules, and their imports: none, or the memory that threads share.
set -u
cd "$(dirname "$0")/../.." || exit 2
export LC_ALL=C
here=tests/surface
lib=${SLM_LIB:-build/release/libslm.a}
dist=${SLM_DIST:-dist}
n=0
failed=0

same() { # TITLE EXPECTED_FILE FILE
    local notes
    n=$((n + 1))
    if notes=$(diff -u "$2" "$3"); then
        echo "ok $n - $1"
    else
        failed=1
        printf '%s\n' "$notes" | sed 's/^/# /'
        echo "not ok $n - $1 (expected: $2)"
    fi
}

wasm_list() { # imports|exports MODULE
    node -e 'require("v8").setFlagsFromString("--experimental-wasm-relaxed-simd");
        const m = new WebAssembly.Module(require("fs").readFileSync(process.argv[1]));
        const lines = WebAssembly.Module[process.argv[2]](m).map((e) => `${e.kind} ${e.name}\n`);
        process.stdout.write(lines.sort().join(""));' "$2" "$1"
}

# Lists in files rather than in pipes to a function: `same` counts, and must run in this shell.
lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT
nm -g --defined-only "$lib" 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u >"$lists/defined"
nm -u "$lib" 2>/dev/null | awk '$1 == "U" {print $2}' | sort -u >"$lists/wanted"
sed -n 's/^[a-z].*[ *]\(slm_[a-z0-9_]*\)(.*/\1/p' runtime/include/slm.h | sort -u >"$lists/declared"
comm -23 "$lists/declared" "$lists/defined" >"$lists/absent"
grep -v '^slm_' "$lists/defined" >"$lists/others"
# Sanitized and hardened builds add checks of their own (__asan_*, __stack_chk_fail, ...).
comm -23 "$lists/wanted" "$lists/defined" | grep -v '^__\|^_GLOBAL_OFFSET_TABLE_' |
    comm -23 - $here/system.txt >"$lists/system"

same "the functions of slm.h" $here/api.txt "$lists/declared"
same "each of them is in the library" /dev/null "$lists/absent"
same "other global names" $here/internal.txt "$lists/others"
same "the library takes no more from the system" /dev/null "$lists/system"
for kernels in "" -relaxed16 -relaxed32; do
    for memory in "" -threads; do
        name=slm$kernels$memory.wasm
        wasm_list imports "$dist/$name" >"$lists/imports"
        wasm_list exports "$dist/$name" >"$lists/exports"
        same "imports of $name" "$here/wasm$memory-imports.txt" "$lists/imports"
        same "exports of $name" "$here/wasm$memory-exports.txt" "$lists/exports"
    done
done
echo "1..$n"
exit $failed
