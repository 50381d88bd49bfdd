# Every allocation, read, write, sync, rename and thread that a command needs fails once: it says so
# or does without, and never leaves part of an output. The driver is faults.py.

bats_require_minimum_version 1.5.0

setup_file() {
    export LIBRARY="$BATS_FILE_TMPDIR/fail_nth.so" FOLDER="$PWD/evals/models/tinystories-2.6m"
    export DRIVER="$PWD/tests/cli/faults.py"
    SLM_BIN=$(realpath "${SLM_BIN:-bin}")
    export SLM_BIN
    if grep -q __asan_init "$SLM_BIN/slm-convert"; then
        return # the tests are skipped
    fi
    "${CC:-cc}" -std=c11 -O1 -shared -fPIC -o "$LIBRARY" tests/lib/fail_nth.c -ldl
    export MODEL="$BATS_FILE_TMPDIR/m.slm" GGUF="$BATS_FILE_TMPDIR/m.gguf"
    "$SLM_BIN/slm-convert" -q "$FOLDER" -o "$MODEL"
    "$SLM_BIN/slm-convert" -q "$MODEL" --to gguf -o "$GGUF"
    printf '\1\0\0\0\2\0\0\0' >"$BATS_FILE_TMPDIR/ids"
}

setup() {
    [ -e "$LIBRARY" ] || skip "a sanitizer brings its own allocator"
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
}

each() { # KINDS OUTPUT COMMAND...
    local kind kinds=$1 output=$2
    shift 2
    for kind in $kinds; do
        python3 "$DRIVER" "$kind" "$LIBRARY" "$output" "$SLM_BIN/$1" "${@:2}"
    done
}

@test "slm-convert, a folder" {
    each "memory open read write sync rename" out.slm slm-convert -q "$FOLDER" -o out.slm
}

@test "slm-convert, GGUF in and out" {
    each "memory map open write sync rename" out.slm slm-convert -q "$GGUF" -o out.slm
    each "memory map open write sync rename" out.gguf slm-convert -q "$MODEL" --to gguf -o out.gguf
}

@test "slm-convert --inspect" {
    each "memory open read" - slm-convert --inspect "$FOLDER"
    each "memory map open" - slm-convert --inspect "$GGUF"
    each "memory open read" - slm-convert --inspect "$FOLDER/tokenizer.json"
}

@test "slm-convert --tokenizer and --vocab-only" {
    each "memory open read write sync rename" out.slm \
        slm-convert -q "$FOLDER" --tokenizer "$FOLDER/tokenizer.json" -o out.slm
    each "memory open read write sync rename" out.slm \
        slm-convert -q "$FOLDER" --vocab-only -o out.slm
}

@test "slm-quantize" {
    each "memory map open read write sync rename thread" out.slm \
        slm-quantize -q "$MODEL" out.slm --type Q4_K_M --threads 2
}

@test "slm-validate and slm-tokenizer" {
    each "memory map open read" - slm-validate "$MODEL"
    each "memory map open" - slm-tokenizer info "$MODEL"
}

@test "slm-run" {
    each "memory map open thread" - \
        slm-run "$MODEL" -p "once upon a time" -n 3 --temp 0 --threads 2 --logits-digest
    each "memory map open read write sync rename" out.f32 \
        slm-run "$MODEL" --ids "$BATS_FILE_TMPDIR/ids" --logits-out out.f32
}

@test "slm-bench, making a model" {
    each "memory write sync rename" out.slm slm-bench -s tiny --type Q4_K_M --write out.slm
}
