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
