# slm-tokenizer with each allocation, read, write, sync and rename failing once; see faults.bats.

bats_require_minimum_version 1.5.0

setup_file() {
    export LIBRARY="$BATS_FILE_TMPDIR/fail_nth.so" DRIVER="$PWD/tests/cli/faults.py"
    export JSON="$PWD/evals/models/tinystories-2.6m/tokenizer.json"
    SLM_BIN=$(realpath "${SLM_BIN:-bin}")
    export SLM_BIN
    if grep -q __asan_init "$SLM_BIN/slm-tokenizer"; then
        return # the tests are skipped
    fi
    "${CC:-cc}" -std=c11 -O1 -shared -fPIC -o "$LIBRARY" tests/lib/fail_nth.c -ldl
    export TEXT="$BATS_FILE_TMPDIR/text" MERGES="$BATS_FILE_TMPDIR/merges.txt"
    export PAYLOAD="$BATS_FILE_TMPDIR/v.bpe1"
    head -c 2000 README.md > "$TEXT"
    printf 'h e\nhe l\nl o\nhel lo\n' > "$MERGES"
    "$SLM_BIN/slm-tokenizer" build --merges "$MERGES" -o "$PAYLOAD" -q
    echo 1 256 3 > "$BATS_FILE_TMPDIR/ids"
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
        python3 "$DRIVER" "$kind" "$LIBRARY" "$output" "$SLM_BIN/slm-tokenizer" "$@"
    done
}

@test "train" {
    each "memory map open read write sync rename" out.slm \
        train "$TEXT" --vocab-size 300 --eos '<e>' -q -o out.slm
    each "write" out.slm,out.json \
        train "$TEXT" --vocab-size 300 --eos '<e>' -q -o out.slm --export out.json
}

@test "build" {
    each "memory open read write sync rename" out.slm \
        build --merges "$MERGES" --eos '<e>' -q -o out.slm
    each "memory write" out.btok build --bytes -q -o out.btok
}

@test "export" {
    each "memory open read write sync rename" out.json export "$PAYLOAD" -q -o out.json
    each "write" out.json,config.json \
        export "$PAYLOAD" -q -o out.json --config config.json
}

@test "encode and decode" {
    each "memory open read" - encode "$PAYLOAD" "$TEXT" --offsets
    each "memory open read" - encode "$JSON" "$TEXT" -q
    each "memory" - decode "$PAYLOAD" "$BATS_FILE_TMPDIR/ids"
}
