# Vocabularies of other makers, whole and malformed.

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    TOKENIZER="${SLM_BIN:-bin}/slm-tokenizer"
}

@test "SentencePiece models: malformed ones are refused, a small one cuts as by hand" {
    python3 tests/cli/sentencepiece_cases.py "$BATS_TEST_TMPDIR"
}

@test "a tokenizer.bin that is none: exit 3" {
    printf 'not a tokenizer' > "$BATS_TEST_TMPDIR/t.bin"
    run "$TOKENIZER" info "$BATS_TEST_TMPDIR/t.bin"
    [ "$status" -eq 3 ]
}

@test "--vocab-only: a file that tokenizes as its source does, is valid, and does not run" {
    source=evals/models/tinystories-2.6m/tokenizer.json
    out="$BATS_TEST_TMPDIR/v.slm"
    "${SLM_BIN:-bin}/slm-convert" "$source" --vocab-only -o "$out" -q
    "${SLM_BIN:-bin}/slm-validate" "$out" | grep "a tokenizer without a model"
    text="once upon a time, lily's 12 dogs"
    ids=$("$TOKENIZER" encode "$source" <<< "$text")
    [ "$("$TOKENIZER" encode "$out" <<< "$text")" = "$ids" ]
    run "${SLM_BIN:-bin}/slm-run" "$out" -p hello
    [ "$status" -eq 3 ] && [[ "$output" == *"tokenizer only"* ]]
    run "${SLM_BIN:-bin}/slm-quantize" "$out" -o "$out.q"
    [ "$status" -eq 3 ] && [[ "$output" == *"tokenizer only"* ]]
    run "${SLM_BIN:-bin}/slm-convert" "$out" --vocab-only -o "$BATS_TEST_TMPDIR/w.slm"
    [ "$status" -eq 3 ] && [[ "$output" == *"already"* ]]
    [ ! -e "$BATS_TEST_TMPDIR/w.slm" ]
}

@test "--tokenizer gives a llama2.c checkpoint its text; one too large is refused" {
    dir="${SLM_SHARED:-../shared}/models/stories260K"
    [ -d "$dir" ] || skip "needs shared"
    out="$BATS_TEST_TMPDIR/s.slm"
    "${SLM_BIN:-bin}/slm-convert" "$dir/stories260K.bin" --tokenizer "$dir/tok512.bin" -o "$out" -q
    "${SLM_BIN:-bin}/slm-validate" -q "$out"
    text="Once upon a time, there was a little girl named Lily."
    [ "$("$TOKENIZER" encode "$out" <<< "$text")" = \
        "$("$TOKENIZER" encode -q "$dir/stories260K.gguf" <<< "$text")" ]
    [[ "$("${SLM_BIN:-bin}/slm-run" "$out" -p "Once upon a time" -n 12 --temp 0 -q)" == \
        *"little girl"* ]]
    run "${SLM_BIN:-bin}/slm-convert" "$dir/stories260K.bin" -o "$out.2" \
        --tokenizer evals/models/tinystories-2.6m/tokenizer.json
    [ "$status" -eq 3 ] && [[ "$output" == *"but the model has 512 rows"* ]]
    run "${SLM_BIN:-bin}/slm-convert" "$dir/stories260K.bin" -o "$out.2"
    [ "$status" -eq 3 ] && [[ "$output" == *"--tokenizer FILE"* ]]
    run "${SLM_BIN:-bin}/slm-convert" "$dir/stories260K.gguf" -o "$out.2" \
        --tokenizer "$dir/tok512.bin"
    [ "$status" -eq 2 ]
}
