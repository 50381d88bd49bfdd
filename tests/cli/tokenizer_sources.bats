# Vocabularies of other makers, whole and malformed.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    TOKENIZER="${SLM_BIN:-bin}/slm-tokenizer"
    BIN=$(realpath "${SLM_BIN:-bin}") ROOT=$PWD
}

@test "SentencePiece models: malformed ones are refused, a small one cuts as by hand" {
    python3 tests/cli/sentencepiece_cases.py "$BATS_TEST_TMPDIR"
}

@test "GGUF vocabularies that leave out or misstate what others say: llama.cpp's ids" {
    python3 tests/cli/gguf_vocabularies.py "$BATS_TEST_TMPDIR"
}

@test "Phi 3's vocabulary in GGUF keeps its chat turns" {
    file="${SLM_SHARED:-../shared}/tokenizers/vectors/ggml-vocab-phi-3.gguf"
    [ -e "$file" ] || skip "needs shared"
    run -0 "$BIN/slm-convert" "$file" --vocab-only -o "$BATS_TEST_TMPDIR/p.slm"
    [[ "$output" != *"without chat turns"* ]]
    "$TOKENIZER" info "$BATS_TEST_TMPDIR/p.slm" | grep -q "chat turns yes"
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

@test "--tokenizer FILE and --vocab-only FOLDER: in the provenance, and no output over them" {
    cp -r evals/models/tinystories-2.6m "$BATS_TEST_TMPDIR/m"
    cd "$BATS_TEST_TMPDIR" || false
    mkdir t
    mv m/tokenizer*.json t/
    [ -e t/tokenizer_config.json ]
    before=$(cat t/* | cksum)
    "$BIN/slm-convert" m --tokenizer t/tokenizer.json -o a.slm -q
    "$BIN/slm-convert" m --tokenizer t -o b.slm -q
    "$BIN/slm-convert" t --vocab-only -o c.slm -q
    "$BIN/slm-tokenizer" build t -o d.slm -q
    for file in a b c d; do
        for name in t/*.json; do
            digest=$(sha256sum <"$name")
            entry="{\"name\":\"${name#t/}\",\"bytes\":$(stat -c %s "$name"),"
            grep -aqF "$entry\"sha256\":\"${digest%% *}\"}" "$file.slm"
        done
    done
    for name in tokenizer.json tokenizer_config.json; do
        for source in t/tokenizer.json t; do
            run -2 "$BIN/slm-convert" m --tokenizer "$source" -o "t/$name" --force
            [[ "$output" == *"is the input"* ]]
            run -2 "$BIN/slm-convert" "$source" --vocab-only -o "t/$name" --force
            run -2 "$BIN/slm-tokenizer" build "$source" -o "t/$name" --force
            run -2 "$BIN/slm-tokenizer" export "$source" -o "t/$name" --force
            run -2 "$BIN/slm-tokenizer" export "$source" -o x.json --config "t/$name" --force
        done
    done
    [ "$(cat t/* | cksum)" = "$before" ]
    [ ! -e x.json ]
}

@test "files that contradict tokenizer.json are told of [TK54, TK64]" {
    cp -r evals/models/tinystories-2.6m "$BATS_TEST_TMPDIR/m"
    cd "$BATS_TEST_TMPDIR" || false
    run -0 --separate-stderr "$BIN/slm-convert" m -o a.slm -q
    [ -z "$stderr" ]
    python3 - <<PY
import json, sys
sys.path.insert(0, "$ROOT/tests/cli")
from sentencepiece_cases import GOOD, HEAD, TRAINER, NORMALIZER, piece
config = json.load(open("m/tokenizer_config.json"))
content = lambda t: t["content"] if isinstance(t, dict) else t
same = {k: config[k] for k in ("bos_token", "eos_token") if config.get(k)}
assert same
json.dump(same, open("same.json", "w"))
json.dump({k: {"content": content(v) + "?"} for k, v in same.items()}, open("other.json", "w"))
open("m/tokenizer.model", "wb").write(GOOD)
tokenizer = json.load(open("m/tokenizer.json"))
by_id = {i: t for t, i in tokenizer["model"]["vocab"].items()}
by_id.update({t["id"]: t["content"] for t in tokenizer["added_tokens"]})
pieces = b"".join(piece(by_id[i].encode(), 0, 1) for i in range(len(by_id)))
open("same.model", "wb").write(pieces + TRAINER + NORMALIZER)
PY
    run -0 --separate-stderr "$BIN/slm-convert" m -o b.slm
    [[ "$stderr" == *"tokenizer.model and tokenizer.json disagree on "*"tokenizer.json is used"* ]]
    cmp a.slm b.slm
    mv same.model m/tokenizer.model
    mv same.json m/special_tokens_map.json
    run -0 --separate-stderr "$BIN/slm-convert" m -o c.slm
    [[ "$stderr" != *warning* && "$stderr" != *disagree* ]]
    mv other.json m/special_tokens_map.json
    run -0 --separate-stderr "$BIN/slm-convert" m -o d.slm
    [[ "$stderr" == *"special_tokens_map.json: "*'?", but tokenizer_config.json says "'* ]]
    cmp a.slm d.slm
    for name in special_tokens_map.json tokenizer.model; do # what cannot be read is passed over
        echo "{" >"m/$name"
    done
    run -0 "$BIN/slm-convert" m -o e.slm -q
    cmp a.slm e.slm
}
