# The quality manifest held against a model and a machine. The manifests are made here by a script
# that shares no code with the tools: canonical text, hashes and all.

bats_require_minimum_version 1.5.0

setup_file() {
    SLM_BIN=$(realpath "${SLM_BIN:-bin}")
    export SLM_BIN MODEL="$BATS_FILE_TMPDIR/model.slm" IDS="$BATS_FILE_TMPDIR/ids"
    "$SLM_BIN/slm-convert" -q evals/models/tinystories-2.6m -o "$MODEL"
    python3 -c "import struct; open('$IDS', 'wb').write(struct.pack('<5i', 1, 20, 300, 4, 77))"
    "$SLM_BIN/slm-run" "$MODEL" --ids "$IDS" -n 0 --logits-digest |
        tail -n 1 >"$BATS_FILE_TMPDIR/digest"
    cat >"$BATS_FILE_TMPDIR/make.py" <<'PY'
import hashlib, json, struct, sys

def canonical(v):  # enough of RFC 8785 for what stands here
    return json.dumps(v, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

model, digest, out, change = sys.argv[1:]
data = open(model, "rb").read()
m = {
    "schema": "slm-quality/1", "result": "passed", "note": "gr\u00fcn \u0001 \"x\"", "number": 0.25,
    "subject": {"sha256": hashlib.sha256(data).hexdigest(),
                "header_checksum": "%016x" % struct.unpack("<Q", data[120:128])},
    "logits_digest": {"kv": "f16", "prompts": [{"ids": [1, 20, 300, 4, 77], "digest": digest}]},
    "volatile": {"created": 1, "seconds": 0.1},
}
after = None
exec(change)
kept = {k: v for k, v in m.items() if k != "volatile"}
m["manifest_sha256"] = hashlib.sha256(canonical(kept)).hexdigest()
if after:
    after(m)
open(out, "w").write(json.dumps(m, indent=2))
PY
}

setup() {
    T="$BATS_TEST_TMPDIR"
    cp "$MODEL" "$T/m.slm"
}

manifest() { # CHANGE: Python statements on m
    python3 "$BATS_FILE_TMPDIR/make.py" "$MODEL" "$(cat "$BATS_FILE_TMPDIR/digest")" \
        "$T/m.slm.quality.json" "${1:-pass}"
}

both() { # STATUS TEXT: slm-validate and slm-run agree
    run --separate-stderr -"$1" "$SLM_BIN/slm-validate" "$T/m.slm" \
        --manifest "$T/m.slm.quality.json"
    [[ "$stderr" == *"$2"* ]] || { echo "$stderr"; false; }
    run --separate-stderr -"$1" "$SLM_BIN/slm-run" "$T/m.slm" --require-quality -p once \
        -n 2 --temp 0
    [[ "$stderr" == *"$2"* ]] || { echo "$stderr"; false; }
    [ "$1" -eq 0 ] || [ -z "$output" ]
}

@test "a manifest that holds" {
    manifest
    both 0 ""
    run -0 "$SLM_BIN/slm-run" "$T/m.slm" --manifest "$T/m.slm.quality.json" -p once -n 2
    run -0 "$SLM_BIN/slm-validate" "$T/m.slm" --json --manifest "$T/m.slm.quality.json"
    python3 tests/lib/json_schema.py schemas/validate.schema.json <<<"$output"
    [[ "$output" == *'"proved": true'* ]]
}

@test "what is volatile may change" {
    manifest "after = lambda m: m['volatile'].update(created=2, machine='another')"
    both 0 ""
}

@test "missing" {
    run --separate-stderr -1 "$SLM_BIN/slm-run" "$T/m.slm" --require-quality -p once
    [[ "$stderr" == *"m.slm: has no quality manifest"* ]]
    run --separate-stderr -4 "$SLM_BIN/slm-validate" "$T/m.slm" --manifest "$T/none.json"
    [[ "$stderr" == *"none.json"* ]]
}

@test "changed after it was written" {
    manifest "after = lambda m: m.update(result='passed', number=0.5)"
    both 1 "was changed after it was written"
}

@test "for other bytes" {
    manifest
    "$SLM_BIN/slm-quantize" -q "$MODEL" "$T/m.slm" --type Q4_K_M --force
    both 1 "is for other bytes"
    cp "$MODEL" "$T/m.slm"
    manifest "m['subject']['sha256'] = '0' * 64"
    both 1 "is for other bytes"
}

@test "failed and inconclusive verdicts" {
    for verdict in failed inconclusive; do
        manifest "m['result'] = '$verdict'"
        both 1 "is \"$verdict\", not \"passed\""
    done
}

@test "a digest that this machine does not reproduce" {
    manifest "m['logits_digest']['prompts'][0]['digest'] = '0123456789abcdef'"
    both 1 "not 0123456789abcdef"
}

@test "every kernel variant reproduces it" {
    manifest
    for kernels in $("$SLM_BIN/slm-run" --help | sed -n 's/.*kernels here: //p'); do
        run -0 "$SLM_BIN/slm-run" "$T/m.slm" --require-quality -p a -n 1 --kernels "$kernels"
    done
}

@test "malformed manifests" {
    cases=(
        "m['schema'] = 'slm-quality/2'|this version reads"
        "m.pop('schema')|schema is missing"
        "m['result'] = 7|result must be a string"
        "m.pop('subject')|subject must be an object"
        "m['logits_digest']['prompts'] = []|must be a list of 1 to 16"
        "m['logits_digest']['prompts'] = [[]]|has 0 ids"
        "m['logits_digest']['prompts'] = [{'ids': [1] * 257}]|has 257 ids"
        "m['logits_digest']['prompts'] = [{'ids': [-1]}]|no token id of the model"
        "m['logits_digest']['prompts'] = [{'ids': [1 << 40]}]|no token id of the model"
        "m['logits_digest']['prompts'] = [{'ids': ['1']}]|no token id of the model"
        "m['logits_digest']['prompts'] = [{'ids': [1]}]|digest is missing"
        "m['logits_digest']['prompts'] = {'a': 1}|must be a list of 1 to 16"
        "m['number'] = 2**60|beyond 2^53"
        "after = lambda m: m.pop('manifest_sha256')|manifest_sha256 is missing"
    )
    for case in "${cases[@]}"; do
        echo "$case"
        manifest "${case%|*}"
        both 3 "${case#*|}"
    done
    for text in "" "{" "[]" '{"a": 1, "a": 2}' "nul"; do
        printf '%s' "$text" >"$T/m.slm.quality.json"
        both 3 "m.slm.quality.json"
    done
    run --separate-stderr -2 "$SLM_BIN/slm-validate" "$T/m.slm" "$MODEL" --manifest "$T/m"
    [[ "$stderr" == *"speaks of one model"* ]]
}
