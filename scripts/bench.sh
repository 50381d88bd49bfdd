#!/usr/bin/env bash
# Measures side by side with other engines and writes docs/benchmarks.md: llama.cpp natively,
# through node-llama-cpp, and wllama in headless Chromium. npm installs both into build/bench, at
# the versions that scripts/bench/package.json names; nothing else of this project needs them.
#
#     scripts/bench.sh [native|browser|visit|wasm]...
#
# native: tokens per second beside llama.cpp; browser: beside wllama; visit: what the visitor of a
# page waits for, beside wllama; wasm: the modules in Node (another one: NODE=) beside our own AVX2
# kernels, where there are such. What is measured can be narrowed: SHAPES="smollm2-135m",
# TYPES="Q4_K_M", THREADS=1,2, ROUNDS=5; BROWSER_SHAPES, BROWSER_TYPES, BROWSER_THREADS,
# BROWSER_ROUNDS, which visit takes too. What was measured before stays in the report until it is
# measured again or build/bench/results is removed.
set -eu
cd "$(dirname "$0")/.."
work=build/bench
bin=${SLM_BIN:-bin}
shapes=${SHAPES:-smollm2-135m llama-3.2-1b}
types=${TYPES:-Q4_K_M Q5_K_M Q6_K Q8_0}
browser_shapes=${BROWSER_SHAPES:-smollm2-135m}
browser_types=${BROWSER_TYPES:-Q4_K_M Q8_0}
parts=("$@")
[ "${#parts[@]}" -gt 0 ] || parts=(native browser visit wasm)
status=0

install() {
    mkdir -p "$work"
    if ! cmp -s scripts/bench/package.json "$work/package.json" || [ ! -e "$work/installed" ]; then
        rm -f "$work/installed"
        cp scripts/bench/package.json "$work/package.json"
        npm install --prefix "$work" --ignore-scripts --omit=optional --no-audit --no-fund \
            --loglevel=error
        touch "$work/installed"
    fi
}

command -v npm >/dev/null || { echo "bench: npm is not installed" >&2; exit 5; }
install
for part in "${parts[@]}"; do
    case $part in
    native)
        for shape in $shapes; do
            for type in $types; do
                node scripts/bench/native.mjs "$work" "$bin" "$shape" "$type" \
                    --threads "${THREADS:-1,2}" --rounds "${ROUNDS:-5}" || status=1
            done
        done
        ;;
    browser | visit)
        if ! browser=$(command -v chromium || command -v chromium-browser ||
            command -v google-chrome); then
            echo "bench: no Chromium; wllama is left out" >&2
            continue
        fi
        for shape in $browser_shapes; do
            for type in $browser_types; do
                node "scripts/bench/$part.mjs" "$work" "$bin" "$shape" "$type" \
                    --browser "$browser" --threads "${BROWSER_THREADS:-1,2}" \
                    --rounds "${BROWSER_ROUNDS:-3}" || status=1
            done
        done
        ;;
    wasm)
        [ "$(uname -m)" = x86_64 ] || continue
        for shape in $browser_shapes; do
            for type in $browser_types; do
                "${NODE:-node}" scripts/bench/wasm.mjs "$work" "$bin" "$shape" "$type" \
                    --rounds "${BROWSER_ROUNDS:-3}" || status=1
            done
        done
        ;;
    *)
        echo "bench: '$part' is not native, browser, visit or wasm" >&2
        exit 2
        ;;
    esac
done
node scripts/bench/report.mjs "$work/results" >"$work/benchmarks.md"
mv "$work/benchmarks.md" docs/benchmarks.md
echo "written to docs/benchmarks.md"
exit "$status"
