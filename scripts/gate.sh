#!/usr/bin/env bash
# The demo model, quantized, against its 16-bit baseline: evaluates both on evals/suites, applies
# evals/gates/default.json and writes the quality manifest. Exit code of slm-eval gate.
#
#     scripts/gate.sh [FOLDER]      where the models and results.db go (default: build/gate)
#
# Results are kept: run again, only what changed is evaluated.
set -eu
bin=${SLM_BIN:-bin}
work=${1:-build/gate}
mkdir -p "$work"
"$bin/slm-convert" evals/models/tinystories-2.6m -o "$work/tinystories-bf16.slm" --force -q
"$bin/slm-quantize" "$work/tinystories-bf16.slm" "$work/tinystories-q4km.slm" --type Q4_K_M \
    --force -q
"$bin/slm-eval" run "$work/tinystories-q4km.slm" evals/suites/*.jsonl --db "$work/results.db" \
    --baseline "$work/tinystories-bf16.slm" >"$work/figures.txt"
"$bin/slm-eval" gate "$work/tinystories-q4km.slm" --db "$work/results.db" \
    --baseline "$work/tinystories-bf16.slm" --policy evals/gates/default.json
