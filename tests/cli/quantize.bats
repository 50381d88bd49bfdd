# slm-quantize: sizes, the same bytes for any number of threads, refusals, warnings, JSON.
# shellcheck disable=SC2154 # stderr, stderr_lines: set by run

bats_require_minimum_version 1.5.0

setup_file() {
    SLM_BIN="$(realpath "${SLM_BIN:-bin}")"
    export SLM_BIN
    export DEMO="$BATS_FILE_TMPDIR/demo.slm"
    "$SLM_BIN/slm-convert" -q --no-tokenizer evals/models/tinystories-2.6m -o "$DEMO"
}

setup() {
    T="$BATS_TEST_TMPDIR"
    export PYTHONPATH=tests/cli PYTHONDONTWRITEBYTECODE=1
}

quantize() { "$SLM_BIN/slm-quantize" "$@"; }

make_model() { # Python statements on a Folder f: $T/odd.slm
    python3 -c "
from convert_cases import *
f = Folder()
$1
f.write('$T/folder')"
    "$SLM_BIN/slm-convert" -q --no-tokenizer "$T/folder" -o "$T/odd.slm" --force
}

no_leftovers() {
    [ -z "$(find "$T" -maxdepth 1 -name '.*tmp*')" ]
}

@test "every type: valid, of the predicted size, the same for 1 and 3 threads" {
    for type in Q8_0 Q4_0 Q4_K Q5_K Q6_K Q4_K_S Q4_K_M Q5_K_S Q5_K_M; do
        predicted=$(quantize "$DEMO" --type $type --dry-run --json |
            python3 -c 'import json, sys; print(json.load(sys.stdin)["output_bytes"])')
        quantize -q "$DEMO" "$T/1.slm" --type $type --threads 1 --force
        quantize -q "$DEMO" "$T/3.slm" --type $type --threads 3 --force
        cmp "$T/1.slm" "$T/3.slm"
        [ "$(stat -c %s "$T/1.slm")" -eq "$predicted" ]
        "$SLM_BIN/slm-validate" -q "$T/1.slm"
        python3 tests/golden/slm_checksums.py check "$T/1.slm"
    done
}

# Error limits: those published for Gaussian values, and the weights of this model are close to it.
@test "relative errors are as small as they should be" {
    python3 - "$SLM_BIN/slm-quantize" "$DEMO" "$T/q.slm" <<'PY'
import json, subprocess, sys
limit = {"Q8_0": 0.0056, "Q6_K": 0.0185, "Q5_K": 0.0372, "Q4_K": 0.0732, "Q4_0": 0.0893}
for kind in limit:
    out = subprocess.run([*sys.argv[1:4], "--type", kind, "--json", "--force"],
                         check=True, capture_output=True).stdout
    d = json.loads(out)
    rows = {t["type"]: t for t in d["types"]}
    assert set(rows) == {"F32", kind}, rows
    assert 0 < rows[kind]["relative_rmse"] < limit[kind], (kind, rows[kind])
PY
}

@test "a dry run writes nothing and lists every tensor" {
    cd "$T"
    run -0 quantize "$DEMO" --type Q4_K_M --dry-run
    [[ "$output" == *"token_embd.weight"*"BF16 -> Q6_K"* ]]
    [[ "$output" == *"blk.2.ffn_down.weight"*"BF16 -> Q6_K"* ]]
    [[ "$output" == *"blk.1.ffn_down.weight"*"BF16 -> Q4_K"* ]]
    [[ "$output" == *"output_norm.weight"*"F32  -> F32"* ]]
    quantize "$DEMO" out.slm --type Q4_K_M --dry-run
    [ -z "$(ls -A)" ]
}

@test "provenance gains a step and keeps the rest" {
    quantize "$DEMO" "$T/q.slm" --type Q4_K --json |
        python3 tests/lib/json_schema.py schemas/quantize.schema.json
    python3 - "$DEMO" "$T/q.slm" <<'PY'
import json, sys
sys.path.insert(0, "tests/golden")
from slm_checksums import File
a, b = (File(open(p, "rb").read()) for p in sys.argv[1:])
old, new = json.loads(a.payload("PROV")), json.loads(b.payload("PROV"))
steps = new.pop("steps")
assert new == old, (new, old)
assert steps == [{"tool": "slm-quantize", "version": steps[0]["version"], "type": "Q4_K",
                  "source_content_checksum": f"{a.u64(64):016x}"}], steps
assert a.payload("CONF") == b.payload("CONF") and a.u64(56) == b.u64(56)
PY
}

@test "rows that are no multiple of 32 stay in 16 bits, and that is said" {
    make_model "" # F32, ffn_down has rows of 48
    run --separate-stderr -0 quantize "$T/odd.slm" "$T/q.slm" --type Q4_K_M
    [ "${#stderr_lines[@]}" -eq 2 ]
    [[ "$stderr" == *"warning: "*"'blk.0.ffn_down.weight' stays F16"*"32"* ]]
    quantize "$T/odd.slm" --type Q4_K_M --dry-run --json >"$T/plan.json" 2>/dev/null
    python3 tests/lib/json_schema.py schemas/quantize.schema.json <"$T/plan.json"
    python3 - "$T/plan.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
kept = [t["name"] for t in d["tensors"] if t["kept"]]
assert kept == ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"], kept
assert all(t["to"] == "F16" for t in d["tensors"] if t["kept"])
assert len(d["warnings"]) == 2 and d["dry_run"] is True
PY
    "$SLM_BIN/slm-validate" -q "$T/q.slm"
    make_model "f.poke('model.layers.1.mlp.down_proj.weight', 50, b'\\x00\\x00\\x80\\x47')" # 65536
    run -3 quantize "$T/odd.slm" "$T/new.slm" --type Q4_K_M -q
    [[ "$output" == *"blk.1.ffn_down.weight', row 1: a value is too large"* ]]
}

# 61 MB in 30 batches. Every 16 rows are the same, so every row group must be.
@test "a tensor of many batches: each in its place, damage found, memory bounded" {
    make_model "
f = Folder(d=64, ff=64, vocab=240000)
f.config['tie_word_embeddings'] = True
del f.tensors['lm_head.weight']
f.add('model.embed_tokens.weight', [240000, 64], values(16 * 64, 'F32', 5) * 15000)"
    for threads in 1 3; do
        python3 - "$SLM_BIN/slm-quantize" "$T/odd.slm" "$T/$threads.slm" $threads <<'PY'
import resource, subprocess, sys
tool, source, target, threads = sys.argv[1:]
subprocess.run([tool, "-q", source, target, "--type", "Q5_K", "--threads", threads], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert "asan" in tool or peak < 32 << 10, f"{peak} KiB"
PY
    done
    cmp "$T/1.slm" "$T/3.slm"
    python3 - "$T/odd.slm" "$T/1.slm" <<'PY'
import sys
sys.path.insert(0, "tests/golden")
from slm_checksums import File
b = File(open(sys.argv[2], "rb").read())
group = 4 * 64 + 10 * 64  # one chunk of Q5_K
data = b.payload("DATA")[:15000 * group]
assert len(set(data[i:i + group] for i in range(0, len(data), group))) == 1
assert any(data)
bad = bytearray(open(sys.argv[1], "rb").read())
at = len(bad) - len(File(bytes(bad)).payload("DATA")) + 240000 * 64 * 4 - 10
bad[at] ^= 1  # in the last row of the first tensor
open(sys.argv[1], "wb").write(bad)
PY
    run -3 quantize "$T/odd.slm" "$T/new.slm" --type Q8_0 -q
    [[ "$output" == *"token_embd.weight"*"SLM_ERR_CHECKSUM"* ]]
    [ ! -e "$T/new.slm" ]
    no_leftovers
}

@test "damage that makes a NaN is called damage" {
    python3 tests/golden/slm_checksums.py damage "$DEMO" "$T/bad.slm" DATA+1540=c07f
    run -3 quantize "$T/bad.slm" "$T/out.slm" --type Q8_0
    [[ "$output" == *"token_embd.weight"*"SLM_ERR_CHECKSUM"* ]]
}

@test "a full disk: exit 4, nothing left" {
    run -4 bash -c "ulimit -f 1000
        exec '$SLM_BIN/slm-quantize' -q '$DEMO' '$T/out.slm' --type Q8_0"
    [[ "$output" == *"out.slm"* ]]
    [ ! -e "$T/out.slm" ]
    no_leftovers
}

@test "quantized input is refused by name" {
    quantize -q "$DEMO" "$T/q.slm" --type Q4_K
    run -3 quantize "$T/q.slm" "$T/again.slm" --type Q8_0
    [[ "$output" == *"token_embd.weight"*"Q4_K already"* ]]
    [ ! -e "$T/again.slm" ]
    no_leftovers
}

@test "damaged input is refused, and the old output stays" {
    echo keep >"$T/out.slm"
    python3 tests/golden/slm_checksums.py damage "$DEMO" "$T/bad.slm" DATA+5000=55
    run -3 quantize "$T/bad.slm" "$T/out.slm" --type Q8_0 --force
    [[ "$output" == *"token_embd.weight"*"SLM_ERR_CHECKSUM"* ]]
    [ "$(cat "$T/out.slm")" = keep ]
    no_leftovers
}

@test "NaN and values beyond the type are refused, naming tensor and row" {
    # token_embd rows are 256 BF16 values: row 3 begins at 1536
    python3 tests/golden/slm_checksums.py damage "$DEMO" "$T/bad.slm" --seal DATA+1540=c07f
    run -3 quantize "$T/bad.slm" "$T/out.slm" --type Q8_0
    [[ "$output" == *"token_embd.weight', row 3: NaN"* ]]
    python3 tests/golden/slm_checksums.py damage "$DEMO" "$T/bad.slm" --seal DATA+1540=004c
    for type in Q8_0 Q4_0; do # 2^25: beyond 127 * 65504
        run -3 quantize "$T/bad.slm" "$T/out.slm" --type $type
        [[ "$output" == *"token_embd.weight', row 3: a value is too large"* ]]
    done
    python3 tests/golden/slm_checksums.py damage "$DEMO" "$T/bad.slm" --seal DATA+1540=004f
    for type in Q4_K Q5_K Q6_K; do # 2^31
        run -3 quantize "$T/bad.slm" "$T/out.slm" --type $type
        [[ "$output" == *"token_embd.weight', row 3: a value is too large"* ]]
    done
    [ ! -e "$T/out.slm" ]
    no_leftovers
}

@test "outputs: existing, equal to the input, impossible" {
    cp "$DEMO" "$T/in.slm"
    echo keep >"$T/out.slm"
    run -2 quantize "$T/in.slm" "$T/out.slm" --type Q8_0
    [[ "$output" == *"--force"* ]]
    ln -s in.slm "$T/soft.slm"
    ln "$T/in.slm" "$T/hard.slm"
    for path in in.slm soft.slm hard.slm ./in.slm; do
        run -2 quantize "$T/in.slm" "$T/$path" --type Q8_0 --force
    done
    cmp "$DEMO" "$T/in.slm"
    run -2 quantize "$T/in.slm" "$T" --type Q8_0 --force
    run -4 quantize "$T/in.slm" "$T/none/out.slm" --type Q8_0
    run -2 quantize "$T/in.slm" - --type Q8_0
    run -4 quantize "$T/none.slm" "$T/new.slm" --type Q8_0
    [ ! -e "$T/new.slm" ]
    no_leftovers
}

@test "misuse names the argument" {
    run -2 quantize "$DEMO" "$T/out.slm"
    [[ "$output" == *"--type"* ]]
    run -2 quantize "$DEMO" "$T/out.slm" --type Q3_K
    [[ "$output" == *"Q3_K"*"Q4_K_M"* ]]
    run -2 quantize "$DEMO" --type Q8_0
    run -2 quantize "$DEMO" "$T/out.slm" --type Q8_0 --threads 0
    run -2 quantize "$DEMO" "$T/out.slm" --type Q8_0 --threads 1000000000
    run -0 quantize --help
    quantize "$DEMO" "$T/out.slm" --type Q3_K --json 2>/dev/null |
        python3 tests/lib/json_schema.py schemas/failure.schema.json
    [ ! -e "$T/out.slm" ]
}

@test "progress can be forced, and is lines when stderr is no terminal" {
    run --separate-stderr -0 quantize "$DEMO" "$T/q.slm" --type Q8_0 --progress
    [[ "$stderr" == *"quantizing"*"%"* ]]
    [[ "$stderr" != *$'\r'* ]]
}
