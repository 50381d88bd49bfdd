# slm-run and slm-eval with text: prompts, stop strings, what is scored.

bats_require_minimum_version 1.5.0

setup_file() {
    export RUN="${SLM_BIN:-bin}/slm-run"
    export EVAL="${SLM_BIN:-bin}/slm-eval"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    if ! "${SLM_BIN:-bin}/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" -q \
        2> "$MODEL.log"; then
        grep -q "cannot be read yet" "$MODEL.log" || { cat "$MODEL.log" && return 1; }
        export ABSENT=1
    fi
}

setup() {
    [ -z "$ABSENT" ] || skip "this build reads no tokenizer.json"
    cd "$BATS_TEST_DIRNAME/../.."
    PROMPT="once upon a time there was a little girl named lily."
}

query() {
    python3 tests/lib/json_query.py "$(tr '\n' ' ' <<< "$1")"
}

story() {
    "$RUN" "$MODEL" --temp 0 -n 40 -q "$@"
}

@test "the prompt from -p, a file and standard input is the same" {
    want=$(story -p "$PROMPT")
    [ -n "$want" ]
    printf '%s\n' "$PROMPT" > "$BATS_TEST_TMPDIR/prompt"
    [ "$(story -f "$BATS_TEST_TMPDIR/prompt")" = "$want" ]
    [ "$(story < "$BATS_TEST_TMPDIR/prompt")" = "$want" ]
    [ "$(story -f - < "$BATS_TEST_TMPDIR/prompt")" = "$want" ]
    printf '%s' "$PROMPT" > "$BATS_TEST_TMPDIR/prompt"
    [ "$(story < "$BATS_TEST_TMPDIR/prompt")" = "$want" ]
}

@test "streamed text, JSON text and the echo agree" {
    want=$(story -p "$PROMPT")
    story -p "$PROMPT" --json > "$BATS_TEST_TMPDIR/json"
    [ "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["text"])' \
        "$BATS_TEST_TMPDIR/json")" = "$want" ]
    [ "$(story -p "$PROMPT" --echo)" = "$PROMPT$want" ]
    python3 tests/lib/json_schema.py schemas/run.schema.json < "$BATS_TEST_TMPDIR/json"
}

@test "the ids of a prompt, given as ids, give the same text" {
    want=$(story -p "$PROMPT")
    story -p "$PROMPT" --json | python3 -c '
import json, struct, sys
ids = json.load(sys.stdin)["prompt_ids"]
sys.stdout.buffer.write(struct.pack("<%di" % len(ids), *ids))' > "$BATS_TEST_TMPDIR/ids"
    [ "$(story --ids "$BATS_TEST_TMPDIR/ids")" = "$want" ]
}

@test "text ends before a stop string, wherever tokens end" {
    want=$(story -p "$PROMPT")
    for at in 5 9 17 30; do
        for length in 1 3 8; do
            stop=${want:$at:$length}
            [ "$(story -p "$PROMPT" --stop "$stop")" = "${want%%"$stop"*}" ]
            [ "$(story -p "$PROMPT" --stop "no such text" --stop "$stop")" = "${want%%"$stop"*}" ]
        done
    done
    story -p "$PROMPT" --stop "${want:9:4}" --json | query 'd["end"] == "stop_string"'
}

@test "a model without chat turns: exit 3 and advice" {
    run --separate-stderr "$RUN" "$MODEL" --chat -p hello
    [ "$status" -eq 3 ] && [[ "$stderr" == *"without --chat"* ]]
}

@test "perplexity of a text: windows, start token and bits per byte" {
    for i in 1 2 3 4 5 6 7 8; do
        echo "one day lily and her dog found a big red ball under tree number $i. they were happy."
    done > "$BATS_TEST_TMPDIR/text"
    "$EVAL" perplexity "$MODEL" "$BATS_TEST_TMPDIR/text" --kv f32 -w 60 -s 25 --json \
        > "$BATS_TEST_TMPDIR/json"
    python3 tests/lib/json_schema.py schemas/perplexity.schema.json < "$BATS_TEST_TMPDIR/json"
    "${SLM_BIN:-bin}/slm-tokenizer" encode "$MODEL" --no-special < "$BATS_TEST_TMPDIR/text" |
        python3 -c '
import struct, sys
ids = list(map(int, sys.stdin.read().split()))
sys.stdout.buffer.write(struct.pack("<%di" % len(ids), *ids))' > "$BATS_TEST_TMPDIR/ids"
    bos=$(query '"" if d["bos_id"] is None else d["bos_id"]' < "$BATS_TEST_TMPDIR/json" | tr -d '"')
    # shellcheck disable=SC2086
    want=$(python3 tests/golden/perplexity.py windows "$RUN" "$MODEL" "$BATS_TEST_TMPDIR/ids" \
        1024 60 25 $bos)
    read -r nll scored windows <<< "$want"
    query "abs(d['nll'] - $nll) < 1e-5 and d['scored'] == $scored and d['windows'] == $windows" \
        < "$BATS_TEST_TMPDIR/json"
    if [ -n "$bos" ]; then
        bytes=$(stat -c %s "$BATS_TEST_TMPDIR/text")
        query "d['scored'] == d['tokens'] and
            abs(d['bits_per_byte'] - $nll * $scored / math.log(2) / $bytes) < 1e-4" \
            < "$BATS_TEST_TMPDIR/json"
    fi
}
