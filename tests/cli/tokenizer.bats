# slm-tokenizer: its commands, its errors, and that a .slm file and the tokenizer.json that it was
# made of give the same. What ids are right is checked in tests/unit/test_text*.c.

bats_require_minimum_version 1.5.0

setup_file() {
    export TOKENIZER="${SLM_BIN:-bin}/slm-tokenizer"
    export MODEL="$BATS_FILE_TMPDIR/model.slm" JSON=evals/models/tinystories-2.6m/tokenizer.json
    "${SLM_BIN:-bin}/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" -q
}

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    TEXT=tests/golden/tokenizers/text.txt
    T="$BATS_TEST_TMPDIR"
}

@test "encode gives the ids that another library gives" {
    "$TOKENIZER" encode "$MODEL" --no-special --control < "$TEXT" > "$T/ids"
    cmp "$T/ids" tests/golden/tokenizers/demo.ids
    "$TOKENIZER" encode "$JSON" --no-special --control < "$TEXT" > "$T/ids"
    cmp "$T/ids" tests/golden/tokenizers/demo.ids
}

@test "decode is the inverse of encode, to the byte" {
    head -c 20000 /dev/urandom > "$T/bytes"
    for file in "$TEXT" "$T/bytes" /dev/null; do
        "$TOKENIZER" encode "$MODEL" --no-special < "$file" > "$T/ids"
        [ "$(wc -l < "$T/ids")" -eq 1 ]
        "$TOKENIZER" decode "$MODEL" < "$T/ids" | cmp - "$file"
    done
}

@test "special tokens by default, control tokens when asked for" {
    printf 'a<|endoftext|>' | "$TOKENIZER" encode "$MODEL" --control --no-special > "$T/ids"
    [ "$(wc -w < "$T/ids")" -eq 2 ]
    [ "$(printf '' | "$TOKENIZER" encode "$MODEL")" = 0 ]
    [ "$(printf '' | "$TOKENIZER" encode "$MODEL" --no-special)" = "" ]
    [ "$(printf '0 0' | "$TOKENIZER" decode "$MODEL")" = "" ]
    [ "$(printf '0\n0' | "$TOKENIZER" decode "$MODEL" --control)" = "<|endoftext|><|endoftext|>" ]
}

@test "info, for people and as JSON" {
    "$TOKENIZER" info "$MODEL" | grep -q "BPE1, 1024 tokens"
    "$TOKENIZER" info "$JSON" --json | python3 -c '
import json, sys
d = json.load(sys.stdin)
assert (d["kind"], d["n_tokens"], d["stop_ids"], d["chat"]) == ("BPE1", 1024, [0], False), d'
}

@test "misuse: exit 2" {
    run -2 "$TOKENIZER"
    [[ "$output" == *"a command is missing"* ]]
    run -2 "$TOKENIZER" trane
    [[ "$output" == *'no command "trane"'* ]]
    run -2 "$TOKENIZER" encode
    run -2 "$TOKENIZER" decode "$MODEL" --specialty
    run -0 "$TOKENIZER" --help
    run -0 "$TOKENIZER" encode --help
}

@test "ids that are none: exit 3" {
    for ids in 1024 -1 1.5 x 99999999999; do
        run -3 "$TOKENIZER" decode "$MODEL" <<< "$ids"
        [[ "$output" == *"standard input"* ]]
    done
}

@test "files that are none: exit 3 or 4" {
    run -4 "$TOKENIZER" info "$T/absent.slm"
    run -4 "$TOKENIZER" info "$T/absent.json"
    echo '{"model":{"type":"Unigram"}}' > "$T/u.json"
    run -3 "$TOKENIZER" info "$T/u.json"
    [[ "$output" == *'Unigram'* ]]
    run -3 "$TOKENIZER" info "$TEXT"
    run -3 --separate-stderr "$TOKENIZER" info "$T/u.json" --json
    python3 -c 'import json, sys
assert json.loads(sys.argv[1])["error"]["exit_code"] == 3' "$output"
}

@test "a file without a tokenizer is named" {
    "${SLM_BIN:-bin}/slm-convert" evals/models/tinystories-2.6m -o "$T/bare.slm" -q --no-tokenizer
    run -3 "$TOKENIZER" info "$T/bare.slm"
    [[ "$output" == *"carries no tokenizer"* ]]
}

@test "NFC of every character, alone and among others, is Python's" {
    python3 tests/cli/nfc_tokenizer.py "$T"
    "$TOKENIZER" encode "$T/tokenizer.json" -q < "$T/text" > "$T/ids"
    "$TOKENIZER" decode "$T/tokenizer.json" -q < "$T/ids" | cmp - "$T/normal"
}
