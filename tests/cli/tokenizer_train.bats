# slm-tokenizer train, held against tests/cli/bpe_trainer.py, which counts everything anew for each
# merge, and against merges counted by hand.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    TOKENIZER="${SLM_BIN:-bin}/slm-tokenizer"
    T="$BATS_TEST_TMPDIR"
}

# Trains both ways on $T/text and compares vocabulary and merges.
same() { # SIZE MIN_FREQUENCY PRE [SPECIAL...]
    local special=()
    for token in "${@:4}"; do
        special+=(--special "$token")
    done
    "$TOKENIZER" train "$T/text" -o "$T/ours.json" --vocab-size "$1" --min-frequency "$2" \
        --pre "$3" "${special[@]}" -q --force
    python3 tests/cli/bpe_trainer.py "$@" < "$T/text" > "$T/theirs.json"
    python3 - "$T" <<'PY'
import json, sys
ours = json.load(open(sys.argv[1] + "/ours.json", encoding="utf-8"))["model"]
theirs = json.load(open(sys.argv[1] + "/theirs.json", encoding="utf-8"))
assert ours["merges"] == theirs["merges"], [m for m in zip(ours["merges"], theirs["merges"])
                                            if m[0] != m[1]][:3]
assert ours["vocab"] == theirs["vocab"]
assert theirs["merges"]
PY
}

@test "the merges are those of a trainer that counts everything anew" {
    LC_ALL=C tr -d '\200-\377' < CONTRIBUTING.md > "$T/text"
    same 700 2 gpt2
    same 420 1 gpt2 '<eos>' '<pad>'
    same 300 3 none
}

@test "equal counts, overlaps, tokens that two pairs make" {
    printf 'aaaaaaaa aaa aaaaa abcabcabcab bcabc ababab abc abc bc abc' > "$T/text"
    same 300 1 gpt2
    same 300 1 none
    printf 'abababab|cabcab|bcbcbcb|aabbccaabbcc|abcabcabc|cbacbacba' | tr -d '|' > "$T/text"
    same 310 1 none
    head -c 3000 /dev/urandom | tr -dc 'ab' | head -c 500 > "$T/text"
    same 330 1 none
    head -c 3000 /dev/urandom | tr -dc 'abc ' > "$T/text"
    same 330 2 gpt2
}

@test "by hand: special tokens, bytes, merges; special tokens in the text are no text" {
    printf 'low low low lower<e>newest newest<e>' > "$T/text"
    "$TOKENIZER" train "$T/text" -o "$T/v.json" --vocab-size 260 --eos '<e>' -q
    # "lo" and "ow" come 4 times, "l" (76) before "o" (79); then "low", then "Ġlow" 3 times
    python3 - "$T/v.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))
assert d["model"]["merges"] == ["l o", "lo w", "Ġ low"], d["model"]["merges"]
assert d["model"]["vocab"]["<e>"] == 0 and d["model"]["vocab"]["!"] == 1
assert d["model"]["vocab"]["Ġlow"] == 259
assert [a["content"] for a in d["added_tokens"]] == ["<e>"]
PY
    "$TOKENIZER" train "$T/text" -o "$T/v.slm" --vocab-size 258 --eos '<e>' --add-eos -q
    [ "$(printf 'lo<e>' | "$TOKENIZER" encode "$T/v.slm" --control)" = "257 0 0" ]
    "${SLM_BIN:-bin}/slm-validate" -q "$T/v.slm"
}

@test "equal texts give equal bytes, in one file or several; --export is the same tokenizer" {
    cat README.md CONTRIBUTING.md > "$T/text"
    "$TOKENIZER" train "$T/text" -o "$T/a.bpe1" --vocab-size 600 -q --export "$T/a.json"
    "$TOKENIZER" train "$T/text" -o "$T/b.bpe1" --vocab-size 600 -q
    "$TOKENIZER" train - -o "$T/c.bpe1" --vocab-size 600 -q < "$T/text"
    cmp "$T/a.bpe1" "$T/b.bpe1"
    cmp "$T/a.bpe1" "$T/c.bpe1"
    "$TOKENIZER" train README.md CONTRIBUTING.md -o "$T/d.bpe1" --vocab-size 600 -q
    "$TOKENIZER" train CONTRIBUTING.md README.md -o "$T/e.bpe1" --vocab-size 600 -q
    cmp "$T/d.bpe1" "$T/e.bpe1"
    "$TOKENIZER" encode "$T/a.json" -q < "$T/text" > "$T/ids"
    "$TOKENIZER" encode "$T/a.bpe1" < "$T/text" | cmp - "$T/ids"
    "$TOKENIZER" decode "$T/a.bpe1" < "$T/ids" | cmp - "$T/text"
}

@test "every pre-tokenizer and normalizer: what is trained loses no byte of well-formed text" {
    text=tests/golden/tokenizers/text.txt
    for options in "--pre llama3" "--pre qwen2 --nfc" "--pre digits" "--pre none" \
        "--pre gpt2 --prefix-space" "--max-token-bytes 3"; do
        # shellcheck disable=SC2086
        "$TOKENIZER" train "$text" -o "$T/v.slm" --export "$T/v.json" --vocab-size 400 -q --force \
            $options
        "$TOKENIZER" encode "$T/v.slm" < "$text" > "$T/ids"
        "$TOKENIZER" encode "$T/v.json" -q < "$text" | cmp - "$T/ids"
        case $options in
        *nfc* | *prefix*) ;;
        *) "$TOKENIZER" decode "$T/v.slm" < "$T/ids" | cmp - "$text" ;;
        esac
    done
    # the last one: no token beyond three bytes
    python3 - "$T/v.json" <<'PY'
import json, sys
assert max(map(len, json.load(open(sys.argv[1], encoding="utf-8"))["model"]["vocab"])) == 3
PY
}

@test "NFC and the prefix come before the words are counted" {
    printf 'e\xcc\x81x e\xcc\x81x' > "$T/text"
    # of e9 as c3 a9 and "x", the pair a9 "x" is first: a9 is 102, c3 is 127
    "$TOKENIZER" train "$T/text" -o "$T/v.json" --vocab-size 258 --nfc -q
    [ "$(printf '\xc3\xa9x' | "$TOKENIZER" encode "$T/v.json" -q)" = 257 ]
    printf 'ab ab' > "$T/text"
    "$TOKENIZER" train "$T/text" -o "$T/v.json" --vocab-size 258 --prefix-space -q --force
    [ "$(printf 'ab' | "$TOKENIZER" encode "$T/v.json" -q)" = 257 ]
}

@test "a megabyte of one letter, bytes that are no text, a single byte" {
    head -c 1000000 /dev/zero | tr '\0' a > "$T/text"
    "$TOKENIZER" train "$T/text" -o "$T/v.slm" --vocab-size 300 -q
    head -c 100000 /dev/urandom > "$T/text"
    "$TOKENIZER" train "$T/text" -o "$T/v.slm" --vocab-size 1000 -q --force
    "$TOKENIZER" encode "$T/v.slm" < "$T/text" | "$TOKENIZER" decode "$T/v.slm" | cmp - "$T/text"
    printf 'x' > "$T/text"
    run -0 "$TOKENIZER" train "$T/text" -o "$T/v.slm" --vocab-size 300 --force
    [[ "$output" == *"256 tokens instead of 300"* ]]
}

@test "the report as JSON" {
    "$TOKENIZER" train README.md CHANGELOG.md -o "$T/v.slm" --vocab-size 300 --json > "$T/report"
    python3 tests/lib/json_schema.py schemas/tokenizer-build.schema.json < "$T/report"
    python3 - "$T/report" README.md CHANGELOG.md <<'PY'
import json, os, sys
t = json.load(open(sys.argv[1]))["training"]
assert t["text_bytes"] == sum(map(os.path.getsize, sys.argv[2:])), t
assert (t["texts"], t["merges"], t["vocab_size"]) == (2, 44, 300), t
PY
}

@test "progress, when asked for" {
    run -0 --separate-stderr "$TOKENIZER" train README.md -o "$T/v.slm" --vocab-size 400 --progress
    [[ "$stderr" == *"merging"* ]]
    run -0 --separate-stderr "$TOKENIZER" train README.md -o "$T/w.slm" --vocab-size 400 -q
    [ -z "$stderr" ]
}

@test "what cannot be: exit 2, 3, 4, 5, and no output" {
    train() { "$TOKENIZER" train "$@" -o "$T/v.slm"; }
    : > "$T/empty"
    run -2 "$TOKENIZER" train README.md --vocab-size 300
    run -2 train README.md
    run -2 train --vocab-size 300
    run -2 train README.md --vocab-size 255
    run -2 train README.md --vocab-size 256 --eos '<e>'
    [[ "$output" == *"1 special tokens and 256 bytes"* ]]
    run -2 train README.md --vocab-size 300 --special a
    [[ "$output" == *"special token 'a'"* ]]
    run -2 train README.md --vocab-size 300 --min-frequency 0
    run -2 train README.md --vocab-size 300 --pre bert
    run -2 train - - --vocab-size 300 < /dev/null
    run -3 train "$T/empty" --vocab-size 300
    [[ "$output" == *"no text to train on"* ]]
    run -4 train README.md "$T/none" --vocab-size 300
    run -4 train "$T" --vocab-size 300
    run -5 train README.md --vocab-size 300 --max-memory 1
    [[ "$output" == *"--max-memory"* ]]
    [ ! -e "$T/v.slm" ]
    cp README.md "$T/text"
    run -2 "$TOKENIZER" train "$T/text" --vocab-size 300 -o "$T/text" --force
    cmp README.md "$T/text"
    run -3 --separate-stderr train "$T/empty" --vocab-size 300 --json
    echo "$output" | python3 tests/lib/json_schema.py schemas/failure.schema.json
}
