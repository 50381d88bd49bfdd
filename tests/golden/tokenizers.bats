# Published tokenizer vectors through every door a vocabulary comes in by.

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    DIR="${SLM_SHARED:-../shared}/tokenizers"
    [ -d "$DIR/vectors" ] || skip "no published vectors here"
}

exact() { # VECTORS MODEL
    python3 tests/golden/tokenizer_vectors.py "$DIR/vectors/ggml-vocab-$1.gguf" "$2"
}

@test "GGUF vocabularies encode the published texts to the published ids, and back" {
    for name in llama-spm phi-3 gpt-2; do
        exact "$name" "$DIR/vectors/ggml-vocab-$name.gguf"
    done
}
