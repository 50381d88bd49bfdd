# Logits against an independent engine (llama.cpp in F32; shared/README.md), through the commands
# that users type: convert a Hugging Face folder at its own dtype, run the given ids, compare.

bats_require_minimum_version 1.5.0

setup_file() {
    export SLM_BIN="${SLM_BIN:-bin}"
    export SLM_SHARED="${SLM_SHARED:-../shared}"
}

check_folder() { # FOLDER N_VOCAB [KERNELS] [TOLERANCE]
    [ -d "$SLM_SHARED/$1" ] || skip "needs shared/$1"
    "$SLM_BIN/slm-convert" "$SLM_SHARED/$1" -o "$BATS_TEST_TMPDIR/model.slm" -q
    "$SLM_BIN/slm-validate" "$BATS_TEST_TMPDIR/model.slm"
    "$SLM_BIN/slm-run" "$BATS_TEST_TMPDIR/model.slm" --kv f32 --ids "$SLM_SHARED/$1/tokens.i32" \
        --logits-out "$BATS_TEST_TMPDIR/logits.f32" ${3:+--kernels "$3"}
    python3 tests/golden/compare_logits.py "$BATS_TEST_TMPDIR/logits.f32" \
        "$SLM_SHARED/$1/logits.f32" "$2" "${4:-2e-4}"
}

@test "llama: GQA, separate output" { check_folder conformance/llama 512; }
@test "llama3: rope scaling by wavelength, tied" { check_folder conformance/llama3 512; }
@test "qwen2: q, k, v biases" { check_folder conformance/qwen2 512; }
@test "qwen3: q and k norms, head_dim of its own" { check_folder conformance/qwen3 512; }
@test "qwen3 on the scalar kernels" { check_folder conformance/qwen3 512 ref; }
# The reference takes GELU from a table of half floats: a tolerance of its own.
@test "gemma3: windows, two rope bases, norms around blocks" {
    check_folder conformance/gemma3 512 "" 5e-3
}
@test "gpt2: LayerNorm, learned positions, transposed matrices" {
    check_folder conformance/gpt2 512 "" 5e-3
}
@test "TinyStories-656K: a real model that stores lm_head alone" {
    check_folder models/TinyStories-656K 2048
}
@test "tinystories-2.6m: the demo checkpoint" { check_folder models/tinystories-2.6m 1024; }

@test "Q8_0 blocks equal llama.cpp's, byte for byte" {
    local folder="$SLM_SHARED/models/TinyStories-656K"
    [ -d "$folder" ] || skip "needs shared/models/TinyStories-656K"
    "$SLM_BIN/slm-convert" "$folder" -o "$BATS_TEST_TMPDIR/model.slm" -q
    "$SLM_BIN/slm-quantize" "$BATS_TEST_TMPDIR/model.slm" "$BATS_TEST_TMPDIR/q8.slm" --type Q8_0 -q
    python3 tests/golden/compare_q8.py "$BATS_TEST_TMPDIR/q8.slm" \
        "$folder/TinyStories-656K-Q8_0.gguf" 8 4
}
