# slm-eval from the command line. What perplexity measures is checked in tests/golden.

bats_require_minimum_version 1.5.0

setup_file() {
    export EVAL="${SLM_BIN:-bin}/slm-eval"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    "${SLM_BIN:-bin}/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" --no-tokenizer -q
    export IDS="$BATS_FILE_TMPDIR/ids.i32"
    python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<40i", *range(40)))' > "$IDS"
}

query() { # EXPRESSION about the document d on standard input
    python3 tests/lib/json_query.py "$(tr '\n' ' ' <<< "$1")"
}

fails() { # EXIT_CODE TEXT ARGUMENTS...
    local code=$1 text=$2
    shift 2
    run --separate-stderr "$EVAL" "$@"
    echo "exit $status, stderr: $stderr, stdout: $output"
    [ "$status" -eq "$code" ]
    [[ "$stderr" == *"$text"* ]]
    [ -z "$output" ]
}

@test "help lists the commands; each has its own" {
    run --separate-stderr "$EVAL" --help
    [ "$status" -eq 0 ] && [ -z "$stderr" ]
    [[ "$output" == *"perplexity"* ]]
    run --separate-stderr "$EVAL" perplexity --help
    [ "$status" -eq 0 ] && [[ "$output" == "usage: slm-eval perplexity"* ]]
    [ "$("$EVAL" perplexity --help | wc -L)" -le 100 ]
    run "$EVAL" --version
    [ "$status" -eq 0 ]
}

@test "misuse is exit 2 and names the argument" {
    fails 2 "missing"
    fails 2 "'frob': unknown command" frob
    fails 2 "'frob': unknown command" frob --window 3
    fails 2 "--frob" --frob
    fails 2 "missing" perplexity "$MODEL"
    fails 2 "--window" perplexity "$MODEL" "$IDS" --ids --window 1
    fails 2 "--window" perplexity "$MODEL" "$IDS" --ids --window 257
    fails 2 "--stride" perplexity "$MODEL" "$IDS" --ids --window 10 --stride 10
    fails 2 "--stride" perplexity "$MODEL" "$IDS" --ids --stride 0
    fails 2 "--kv" perplexity "$MODEL" "$IDS" --ids --kv q4
    fails 2 "is the input" perplexity "$MODEL" "$IDS" --ids --logits-out "$IDS"
}

@test "files: exit 3 and 4" {
    fails 4 "absent.slm" perplexity absent.slm "$IDS"
    fails 4 "absent.i32" perplexity "$MODEL" absent.i32 --ids
    fails 3 "no tokenizer" perplexity "$MODEL" "$IDS"
    head -c 4 "$IDS" > "$BATS_TEST_TMPDIR/one"
    fails 3 "nothing to predict" perplexity "$MODEL" "$BATS_TEST_TMPDIR/one" --ids
    echo "not a model" > "$BATS_TEST_TMPDIR/text"
    fails 3 "SLM_ERR_" perplexity "$BATS_TEST_TMPDIR/text" "$IDS" --ids
}

@test "the report states window, stride and counts" {
    run --separate-stderr "$EVAL" perplexity "$MODEL" "$IDS" --ids -w 16 -s 4
    [ "$status" -eq 0 ] && [ -z "$stderr" ]
    # windows at 0, 4, ..., 24: the last one ends at 40
    [[ "$output" == *"window          16, stride 4, no start token"* ]]
    [[ "$output" == *"tokens          40, scored 39, in 7 windows"* ]]
    "$EVAL" perplexity "$MODEL" "$IDS" --ids -w 16 -s 4 --json | query '
        [d[k] for k in ("window", "stride", "tokens", "scored", "windows", "bos_id")] ==
            [16, 4, 40, 39, 7, None] and d["nll"] > 0 and d["nll_error"] > 0 and
        abs(math.log(d["perplexity"]) - d["nll"]) < 1e-9'
    "$EVAL" perplexity "$MODEL" "$IDS" --ids --json |
        python3 tests/lib/json_schema.py schemas/perplexity.schema.json
}

@test "two tokens: one is scored, and its error is unknown" {
    head -c 8 "$IDS" > "$BATS_TEST_TMPDIR/two"
    "$EVAL" perplexity "$MODEL" "$BATS_TEST_TMPDIR/two" --ids --json |
        tee "$BATS_TEST_TMPDIR/out" |
        query 'd["scored"] == 1 and d["nll_error"] is None and d["nll"] > 0'
    python3 tests/lib/json_schema.py schemas/perplexity.schema.json < "$BATS_TEST_TMPDIR/out"
}

@test "--json is one document on failure too" {
    for bad in "--json" "perplexity --json" "perplexity absent.slm x --json" "frob --json" \
        "perplexity $MODEL $IDS --json"; do
        run --separate-stderr "$EVAL" $bad
        echo "$bad: $output"
        [ "$status" -ne 0 ]
        echo "$output" | query "d['error']['exit_code'] == $status"
        echo "$output" | python3 tests/lib/json_schema.py schemas/failure.schema.json
    done
}
