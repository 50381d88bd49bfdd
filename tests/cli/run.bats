# slm-run from the command line: what goes where, exit codes, --json on failure.

bats_require_minimum_version 1.5.0

setup_file() {
    export RUN="${SLM_BIN:-bin}/slm-run"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    "${SLM_BIN:-bin}/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" --no-tokenizer -q
    export IDS="$BATS_FILE_TMPDIR/ids.i32"
    ids 0 387 345 45 259 368 416 503 > "$IDS"
}

ids() { # numbers -> little-endian int32
    python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<%di" % (len(sys.argv) - 1), *map(int, sys.argv[1:])))' "$@"
}

query() { # EXPRESSION about the document d on standard input
    python3 tests/lib/json_query.py "$(tr '\n' ' ' <<< "$1")"
}

fails() { # EXIT_CODE TEXT ARGUMENTS...: fails so, says TEXT on stderr, prints nothing
    local code=$1 text=$2
    shift 2
    run --separate-stderr "$RUN" "$@"
    echo "exit $status, stderr: $stderr, stdout: $output"
    [ "$status" -eq "$code" ]
    [[ "$stderr" == *"$text"* ]]
    [ -z "$output" ]
}

@test "help and version go to stdout" {
    run --separate-stderr "$RUN" --help
    [ "$status" -eq 0 ] && [ -z "$stderr" ]
    [[ "$output" == "usage: slm-run MODEL.slm"* ]]
    [[ "$output" == *"kernels here: ref"* ]]
    run --separate-stderr "$RUN" --version
    [ "$status" -eq 0 ] && [[ "$output" =~ ^slm-run\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "no line of the help is longer than 100 columns" {
    [ "$("$RUN" --help | wc -L)" -le 100 ]
}

@test "misuse is exit 2 and names the argument" {
    fails 2 "argument is missing"
    fails 2 "'b'" a b
    fails 2 "--temp" "$MODEL" --temp hot
    fails 2 "--temp" "$MODEL" --temp -1
    fails 2 "--top-k" "$MODEL" --top-k 1025
    fails 2 "--top-p" "$MODEL" --top-p 1.5
    fails 2 "--min-p" "$MODEL" --min-p nan
    fails 2 "--seed" "$MODEL" --seed -1
    fails 2 "--max-tokens" "$MODEL" --max-tokens 1e3
    fails 2 "--threads" "$MODEL" --threads 0
    fails 2 "--threads" "$MODEL" --threads 1000000000
    fails 2 "--ctx" "$MODEL" --ctx 0
    fails 2 "--chunk" "$MODEL" --chunk 4097
    fails 2 "--kv" "$MODEL" --kv f8
    fails 2 "--stop" "$MODEL" --stop ''
    fails 2 "--prompt, --file, --ids" "$MODEL" -p x -f y
    fails 2 "--system" "$MODEL" --system x
    fails 2 "--chat" "$MODEL" --chat --ids "$IDS"
    fails 2 "--logits-out -" "$MODEL" --ids "$IDS" --logits-out - -n 3
    fails 2 "--frob" "$MODEL" --frob
    fails 2 "'mmx'" "$MODEL" --ids "$IDS" --kernels mmx
    fails 2 "--ctx" "$MODEL" --ids "$IDS" --ctx 7
}

@test "unreadable files are exit 4" {
    mkfifo "$BATS_TEST_TMPDIR/fifo"
    fails 4 "absent.slm" absent.slm
    fails 4 "is a folder" "$BATS_TEST_TMPDIR"
    fails 4 "is a pipe" "$BATS_TEST_TMPDIR/fifo"
    fails 4 "is a device" /dev/zero
    fails 4 "absent.i32" "$MODEL" --ids absent.i32
    fails 4 "absent/x" "$MODEL" --ids "$IDS" --logits-out absent/x
}

@test "invalid files are exit 3" {
    echo "not a model" > "$BATS_TEST_TMPDIR/text"
    fails 3 "text: " "$BATS_TEST_TMPDIR/text"
    : > "$BATS_TEST_TMPDIR/empty"
    fails 3 "empty: " "$BATS_TEST_TMPDIR/empty"
    head -c 100000 "$MODEL" > "$BATS_TEST_TMPDIR/cut"
    fails 3 "cut: " "$BATS_TEST_TMPDIR/cut"
    printf 'abc' > "$BATS_TEST_TMPDIR/odd.i32"
    fails 3 "odd.i32: its 3 bytes" "$MODEL" --ids "$BATS_TEST_TMPDIR/odd.i32"
    fails 3 "empty: its 0 bytes" "$MODEL" --ids "$BATS_TEST_TMPDIR/empty"
    ids 5 1024 > "$BATS_TEST_TMPDIR/high.i32"
    fails 3 "id 1024 at place 1" "$MODEL" --ids "$BATS_TEST_TMPDIR/high.i32"
    ids -1 > "$BATS_TEST_TMPDIR/low.i32"
    fails 3 "id -1 at place 0" "$MODEL" --ids "$BATS_TEST_TMPDIR/low.i32"
    fails 3 "no chat turns" "$MODEL" --chat -p hello
    fails 3 "no tokenizer" "$MODEL" -p hello
}

flip_last_byte() { # FILE
    python3 - "$1" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(-1000, 2)
    byte = f.read(1)[0]
    f.seek(-1000, 2)
    f.write(bytes([byte ^ 1]))
PY
}

@test "a damaged weight is noticed, unless --no-check" {
    cp "$MODEL" "$BATS_TEST_TMPDIR/damaged"
    flip_last_byte "$BATS_TEST_TMPDIR/damaged"
    fails 3 "SLM_ERR_CHECKSUM" "$BATS_TEST_TMPDIR/damaged" --ids "$IDS" -n 1
    fails 3 "SLM_ERR_CHECKSUM" "$BATS_TEST_TMPDIR/damaged" --ids "$IDS" -n 1 --check
    "$RUN" "$BATS_TEST_TMPDIR/damaged" --ids "$IDS" -n 1 --no-check
}

@test "too much memory is exit 5" {
    [ "$(awk '/MemTotal/ { print $2 }' /proc/meminfo)" -lt 60000000 ] || skip "64 GiB are there"
    fails 5 "--ctx" "$MODEL" --ids "$IDS" --ctx 16777216 --kv f32
}

@test "--json is one document, also on failure" {
    "$RUN" "$MODEL" --ids "$IDS" -n 5 --json | query '
        len(d["ids"]) == 5 and d["end"] == "max_tokens" and
        d["prompt_ids"] == [0, 387, 345, 45, 259, 368, 416, 503] and
        d["stats"]["prompt_tokens"] == 8 and d["sampling"]["seed"] == 1 and
        "logits_digest" not in d'
    "$RUN" "$MODEL" --ids "$IDS" -n 5 --json --logits-digest |
        python3 tests/lib/json_schema.py schemas/run.schema.json
    "$RUN" "$MODEL" --ids "$IDS" -n 0 --json |
        python3 tests/lib/json_schema.py schemas/run.schema.json
    for bad in "absent.slm --json" "--json" "$MODEL --temp x --json" "--json --frob" \
        "$MODEL --json --ids absent.i32" "$MODEL --json --chat -p x"; do
        run --separate-stderr "$RUN" $bad
        [ "$status" -ne 0 ]
        echo "$output" | query \
            "d['tool'] == 'slm-run' and d['error']['exit_code'] == $status"
        echo "$output" | python3 tests/lib/json_schema.py schemas/failure.schema.json
    done
}

@test "a full stdout is exit 4" {
    run --separate-stderr bash -c "'$RUN' '$MODEL' --ids '$IDS' -n 1 --json > /dev/full"
    [ "$status" -eq 4 ]
    run --separate-stderr bash -c "'$RUN' --help > /dev/full"
    [ "$status" -eq 4 ]
    run --separate-stderr bash -c "'$RUN' '$MODEL' --ids '$IDS' --logits-out - > /dev/full"
    [ "$status" -eq 4 ]
    [[ "$stderr" == *"No space left"* ]]
}

@test "closed standard descriptors do no harm" {
    run --separate-stderr bash -c "'$RUN' '$MODEL' --ids '$IDS' -n 1 --json >&-"
    [ "$status" -eq 4 ]
    "$RUN" "$MODEL" --ids "$IDS" --logits-out "$BATS_TEST_TMPDIR/l" <&- >&- 2>&-
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/l")" -eq $((8 * 1024 * 4)) ]
}

@test "a reader that goes away ends it quietly" {
    run --separate-stderr bash -o pipefail -c \
        "'$RUN' '$MODEL' --ids '$IDS' --logits-out - | head -c 1"
    [ -z "$stderr" ]
}

@test "logits: one row a position, to a file or to stdout" {
    "$RUN" "$MODEL" --ids "$IDS" --logits-out "$BATS_TEST_TMPDIR/a"
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/a")" -eq $((8 * 1024 * 4)) ]
    "$RUN" "$MODEL" --ids "$IDS" --logits-out - | cmp - "$BATS_TEST_TMPDIR/a"
    "$RUN" "$MODEL" --ids "$IDS" --logits-out "$BATS_TEST_TMPDIR/a" # a measurement may be repeated
    fails 2 "is the input" "$MODEL" --ids "$IDS" --logits-out "$IDS"
    fails 2 "is the input" "$MODEL" --ids "$IDS" --logits-out "$MODEL"
    # with -n also those of the generated tokens that were fed back
    "$RUN" "$MODEL" --ids "$IDS" -n 4 --logits-out "$BATS_TEST_TMPDIR/a"
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/a")" -eq $((11 * 1024 * 4)) ]
}

# slm_hash, written again from its description in schemas/slm-format.md.
hash_of() {
    python3 - "$1" <<'PY'
import struct, sys
M = 2**64 - 1
def mix(z):
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & M
    z = (z ^ z >> 27) * 0x94d049bb133111eb & M
    return z ^ z >> 31
data = open(sys.argv[1], "rb").read()
lanes = [mix(s) for s in (0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f,
                            0x165667b19e3779f9, 0x27d4eb2f165667c5)]
padded = data + bytes(-len(data) % 32)
for at in range(0, len(padded), 32):
    for i, word in enumerate(struct.unpack_from("<4Q", padded, at)):
        x = (lanes[i] ^ word) * 0xbf58476d1ce4e5b9 & M
        lanes[i] = x ^ x >> 32
h = mix(len(data))
for lane in lanes:
    h = mix(h ^ lane)
print("%016x" % h)
PY
}

@test "the digest is that of the logits written" {
    "$RUN" "$MODEL" --ids "$IDS" -n 4 --temp 0 --logits-out "$BATS_TEST_TMPDIR/a" --logits-digest \
        > "$BATS_TEST_TMPDIR/out"
    [ "$(tail -n 1 "$BATS_TEST_TMPDIR/out")" = "$(hash_of "$BATS_TEST_TMPDIR/a")" ]
    "$RUN" "$MODEL" --ids "$IDS" -n 4 --temp 0 --logits-digest --json |
        query "[d['logits_digest'], d['logits_rows']] == ['$(hash_of "$BATS_TEST_TMPDIR/a")', 11]"
}

@test "greedy takes the top of the logits; seeds repeat; temperature varies" {
    "$RUN" "$MODEL" --ids "$IDS" -n 6 --temp 0 --logits-out "$BATS_TEST_TMPDIR/a" -q > /dev/null
    want=$(python3 -c '
import array, sys
a = array.array("f", open(sys.argv[1], "rb").read())
rows = [a[i:i + 1024] for i in range(7 * 1024, len(a), 1024)]
print([max(range(1024), key=r.__getitem__) for r in rows])' "$BATS_TEST_TMPDIR/a" | tr -d ' ')
    [ "$("$RUN" "$MODEL" --ids "$IDS" -n 6 --temp 0 --json | query 'd["ids"]')" = "$want" ]
    [ "$("$RUN" "$MODEL" --ids "$IDS" -n 6 --top-k 1 --temp 1 --json |
        query 'd["ids"]')" = "$want" ]
    one=$("$RUN" "$MODEL" --ids "$IDS" -n 40 --temp 1 --seed 1 --json | query 'd["ids"]')
    [ "$("$RUN" "$MODEL" --ids "$IDS" -n 40 --temp 1 --seed 1 -t 1 --chunk 1 --json |
        query 'd["ids"]')" = "$one" ]
    [ "$("$RUN" "$MODEL" --ids "$IDS" -n 40 --temp 1 --seed 2 --json |
        query 'd["ids"]')" != "$one" ]
}

@test "a full context ends it and is said" {
    run --separate-stderr "$RUN" "$MODEL" --ids "$IDS" -n 100 --ctx 10
    [ "$status" -eq 0 ] && [[ "$stderr" == *"context of 10 tokens is full"* ]]
    "$RUN" "$MODEL" --ids "$IDS" -n 100 --ctx 10 --json 2> /dev/null |
        query 'd["end"] == "context_full" and len(d["ids"]) == 3'
    run --separate-stderr "$RUN" "$MODEL" --ids "$IDS" -n 1 --ctx 8 -q
    [ "$status" -eq 0 ] && [ -z "$stderr" ]
}

@test "stats go to stderr" {
    run --separate-stderr "$RUN" "$MODEL" --ids "$IDS" -n 3 --stats -t 1 --kernels ref
    [ "$status" -eq 0 ]
    [[ "$stderr" == *"prompt "*"8 tokens"*"generated "*"3 tokens"*"kernels ref, 1 thread"* ]]
}

@test "progress without a terminal only when asked for" {
    run --separate-stderr "$RUN" "$MODEL" --ids "$IDS" -n 1
    [ -z "$stderr" ]
    run --separate-stderr "$RUN" "$MODEL" --ids "$IDS" -n 1 --progress
    [[ "$stderr" == *"prompt 100 %"* ]]
    [[ "$stderr" != *$'\r'* ]]
}
