# slm-validate: verdicts, exit codes and JSON. Damage is done by tests/golden/slm_checksums.py,
# which shares no code with the tools and can make the checksums right again.
# shellcheck disable=SC2154 # stderr, stderr_lines: set by run

bats_require_minimum_version 1.5.0

setup() {
    SLM_BIN="$(realpath "${SLM_BIN:-bin}")"
    T="$BATS_TEST_TMPDIR"
    GOOD=tests/fuzz/corpus/slm/tiny.slm
}

validate() { "$SLM_BIN/slm-validate" "$@"; }

damage() { # CHANGES...: $T/bad.slm
    python3 tests/golden/slm_checksums.py damage "$GOOD" "$T/bad.slm" "$@"
}

invalid() { # STATUS MESSAGE: of $T/bad.slm, as text and as JSON
    run --separate-stderr -3 validate "$T/bad.slm"
    [[ "$stderr" == *"bad.slm: "*"$2"*"$1"* ]] || { echo "$stderr"; false; }
    [[ "$output" == *INVALID* ]]
    validate --json "$T/bad.slm" >"$T/out.json" 2>/dev/null || [ $? -eq 3 ]
    python3 tests/lib/json_schema.py schemas/validate.schema.json <"$T/out.json"
    python3 - "$T/out.json" "$1" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["valid"] is False and d["exit_code"] == 3, d
assert d["errors"][0]["code"] == sys.argv[2], d["errors"]
PY
}

@test "the smallest model is valid" {
    run -0 validate "$GOOD"
    [[ "$output" == *"verdict       valid"* ]]
    [[ "$output" == *"12 with 3552 parameters"* ]]
    python3 tests/golden/slm_checksums.py check "$GOOD"
}

@test "the format document's examples hold" {
    python3 tests/golden/slm_checksums.py example schemas/slm-format.md
}

@test "JSON of a valid file" {
    validate --json "$GOOD" | python3 tests/lib/json_schema.py schemas/validate.schema.json
    validate --json "$GOOD" | python3 -c '
import json, sys
d = json.load(sys.stdin)
assert d["valid"] and d["exit_code"] == 0 and d["errors"] == [] and d["data_checked"]
assert d["parameters"] == 3552 and d["tensors"] == 12 and len(d["types"]) == 8
assert d["content_checksum"] == "a671bb9fe66ac7c9"
assert sum(t["parameters"] for t in d["types"]) == 3552'
}

@test "damage is found, named and placed" {
    damage header=47475546; invalid SLM_ERR_MAGIC "not a .slm file"
    damage header+4=0a; invalid SLM_ERR_MAGIC "text-mode"
    damage header+8=02; invalid SLM_ERR_VERSION "update slm"
    damage header+40=00; invalid SLM_ERR_CHECKSUM "header checksum"
    damage TDIR+60=00; invalid SLM_ERR_CHECKSUM "'TDIR'"
    damage DATA+300=55; invalid SLM_ERR_CHECKSUM "token_embd.weight"
}

@test "right checksums do not make wrong contents pass" {
    damage --seal TDIR+16=ffffffffffffffff; invalid SLM_ERR_DIRECTORY "token_embd.weight"
    damage --seal TDIR+10=08; invalid SLM_ERR_DIRECTORY "type"
    damage --seal CONF+56=00000000; invalid SLM_ERR_CONFIG "n_heads"
    damage --seal CONF+44=02000000; invalid SLM_ERR_TENSOR_MISSING "blk.1."
    damage --seal CONF+8=03000000; invalid SLM_ERR_TENSOR_SHAPE "token_embd.weight"
    damage --seal header+72=6d616d6261; invalid SLM_ERR_ARCHITECTURE "mamba"
    damage --seal DATA+768=0000c07f; invalid SLM_ERR_NOT_FINITE "blk.0.attn_norm.weight"
    damage --seal DATA+0=007e; invalid SLM_ERR_NOT_FINITE "token_embd.weight"
    damage --seal DATA+8=01; invalid SLM_ERR_LAYOUT "padding"
}

@test "a cut file and a file with more behind it" {
    for n in 0 1 8 100 128 200 1000 5000 9023; do
        head -c $n "$GOOD" >"$T/bad.slm"
        invalid SLM_ERR_TRUNCATED ""
    done
    cat "$GOOD" "$GOOD" >"$T/bad.slm"
    invalid SLM_ERR_LAYOUT "9024 bytes follow"
    truncate -s 1T "$T/bad.slm"
    invalid SLM_ERR_LAYOUT "bytes follow"
}

@test "SL33: cut while it is read: exit code 4 and one line, whatever reads it" {
    local whole="$T/whole.slm" big="$T/big.slm" many command
    "$SLM_BIN/slm-bench" --synthetic smollm2-135m --type BF16 --write "$whole"
    printf '\1\0\0\0' >"$T/ids"
    many=$(yes "$big" | head -n 40) # once takes less time than the cutting needs
    for command in "slm-validate $many" "slm-quantize $big $T/out.slm --type Q4_K_M -q" \
        "slm-run $big --ids $T/ids -n 400 --threads 1 -q"; do
        cp "$whole" "$big"
        # shellcheck disable=SC2086
        run --separate-stderr -4 python3 tests/cli/cut_while_read.py "$big" 8192 "$SLM_BIN"/$command
        [ "${#stderr_lines[@]}" -eq 1 ]
        [[ "$stderr" == *"big.slm: was cut short while it was being read" ]]
        [ ! -e "$T/out.slm" ]
    done
}

@test "several problems are all reported" {
    damage DATA+300=55 DATA+768=0000c07f
    run --separate-stderr -3 validate "$T/bad.slm"
    [ "${#stderr_lines[@]}" -eq 2 ]
}

@test "--quick leaves the data alone and says so" {
    damage DATA+300=55
    run -0 validate --quick "$T/bad.slm"
    [[ "$output" == *"left out"* ]]
}

@test "unknown optional sections are skipped" {
    run -0 validate tests/fuzz/corpus/slm/optional-section.slm
}

@test "several files: one array, the worst exit code" {
    damage DATA+300=55
    validate --json "$GOOD" "$T/bad.slm" "$T/none.slm" >"$T/out.json" 2>/dev/null || code=$?
    [ "$code" -eq 4 ]
    python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert [x["exit_code"] for x in d] == [0, 3, 4], d' "$T/out.json"
}

@test "what is not a file: exit 4, still one JSON document" {
    mkfifo "$T/fifo"
    for path in "$T" "$T/fifo" /dev/null "$T/none" ""; do
        run -4 --separate-stderr validate "$path"
        validate --json "$path" 2>/dev/null | python3 -c 'import json, sys; json.load(sys.stdin)'
    done
    run -2 validate
    run -2 validate --nonsense "$GOOD"
}

@test "odd names and times are accepted" {
    name="$T/a b'\$(x)"$'\n\xff.slm'
    cp "$GOOD" "$name"
    touch -d 1970-01-01 "$name"
    run -0 validate "$name"
    touch -d 2106-01-01 "$name"
    validate --json "$name" | python3 -c 'import json, sys; assert json.load(sys.stdin)["valid"]'
    ln -s "$name" "$T/link"
    run -0 validate "$T/link"
}

@test "standard output that cannot be written is an error" {
    run -4 bash -c "'$SLM_BIN/slm-validate' --json $GOOD >/dev/full"
    run bash -c "'$SLM_BIN/slm-validate' $GOOD >&-"
    [ "$status" -ne 0 ]
}
