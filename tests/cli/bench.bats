# slm-bench: what it measures is the machine's; what can be checked is that it measures what it was
# asked to, says it in valid documents, and makes models that everything else takes.

bats_require_minimum_version 1.5.0

setup() {
    BIN=${SLM_BIN:-bin}
    T=$BATS_TEST_TMPDIR
    # So short that even a sanitizer build is quick.
    small=(--synthetic tiny --repeat 1 --prompt 4 --gen 2 --threads 1)
}

valid() { # SCHEMA < document
    if ! python3 -c 'import json' 2>"$T/none"; then
        skip "python3 is not installed"
    fi
    python3 tests/lib/json_schema.py "schemas/$1.schema.json"
}

@test "a table with a line for each setting" {
    run --separate-stderr "$BIN/slm-bench" "${small[@]}" --kernels ref --kv f16,q8_0 --depth 0,3 \
        --batch 1,2
    [ "$status" -eq 0 ]
    [ "$(grep -c '^ref' <<<"$output")" -eq 12 ]
    [ "$(grep -c '^ref .*prefill 4 ' <<<"$output")" -eq 4 ]
    [ "$(grep -c '^ref .*decode 2 at 3 ' <<<"$output")" -eq 2 ]
    [ "$(grep -c '^ref .*batches of 2 at 3 ' <<<"$output")" -eq 2 ]
    [ -z "$stderr" ]
}

@test "the document is valid, and its medians are those of its samples" {
    "$BIN/slm-bench" -s tiny -p 4 -n 2 --repeat 4 --threads 1,2 --profile --json >"$T/out"
    valid bench <"$T/out"
    python3 - "$T/out" <<'END'
import json, statistics, sys
d = json.load(open(sys.argv[1]))
assert [(r["threads"], r["kind"]) for r in d["results"]] == [
    (t, k) for t in (1, 2) for k in ("prefill", "decode")]
for r in d["results"]:
    assert len(r["samples"]) == 4 and min(r["samples"]) > 0
    assert abs(statistics.median(r["samples"]) / r["tokens_per_second"] - 1) < 1e-9
    shares = {p["name"]: p["share"] for p in r["profile"]["parts"]}
    assert abs(sum(shares.values()) - 1) < 0.01, shares
    matrices = sum(s for n, s in shares.items() if n.endswith(" matrices"))
    assert abs(1 - matrices - r["profile"]["outside_matrices"]) < 1e-9
    assert {"Q4_K matrices", "Q6_K matrices", "attention", "norms"} <= set(shares)
END
}

@test "bytes and multiplications per token are those of the shape" {
    # tiny: vocabulary 512, width 96, 2 layers, 3 heads and 1 KV head of 32, hidden layer of 160.
    # A layer multiplies by 96 x 96 (q), 2 of 32 x 96 (k, v), 96 x 96 (o) and 3 of 160 x 96.
    "$BIN/slm-bench" "${small[@]}" --type Q8_0 --json >"$T/out"
    python3 - "$T/out" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
layers = 2 * (2 * 96 * 96 + 2 * 32 * 96 + 3 * 160 * 96)
output = 512 * 96
# Q8_0: 34 bytes for 32 elements; every row group of 16 rows pads its scales to 64 bytes.
blocks = lambda rows, cols: rows // 16 * (-(-cols // 32 * 32 // 64) * 64 + cols * 16)
total = 2 * (2 * blocks(96, 96) + 2 * blocks(32, 96) + 2 * blocks(160, 96) + blocks(96, 160))
total += blocks(512, 96)
assert d["model"]["weight_bytes"] == total, (d["model"]["weight_bytes"], total)
prefill, decode = d["results"]
near = lambda a, b: abs(a / b - 1) < 1e-6
assert near(decode["macs_per_second"], decode["tokens_per_second"] * (layers + output))
assert near(prefill["macs_per_second"], prefill["tokens_per_second"] * (layers + output / 4))
assert near(decode["bytes_per_second"], decode["tokens_per_second"] * total)
assert prefill["bytes_per_second"] is None
END
}

@test "a synthetic model is a valid file, the same each time, with the types asked for" {
    for type in F32 F16 BF16 Q8_0 Q4_0 Q4_K Q5_K Q6_K Q4_K_S Q4_K_M Q5_K_S Q5_K_M; do
        "$BIN/slm-bench" -s tiny --type "$type" --write "$T/$type.slm"
        "$BIN/slm-validate" "$T/$type.slm"
    done
    "$BIN/slm-bench" -s tiny --type Q4_K_M --write "$T/again.slm"
    cmp "$T/Q4_K_M.slm" "$T/again.slm"
    run -2 "$BIN/slm-bench" -s tiny --write "$T/again.slm"
    [[ "$output" == *"--force"* ]]
    "$BIN/slm-bench" -s tiny --type F16 --write "$T/again.slm" --force
    "$BIN/slm-quantize" "$T/again.slm" "$T/other.slm" --type Q5_K_M >/dev/null
    types() { "$BIN/slm-validate" "$1" | grep parameters; }
    [ "$(types "$T/other.slm")" = "$(types "$T/Q5_K_M.slm")" ]
    "$BIN/slm-bench" "$T/other.slm" --prompt 4 --gen 2 --repeat 1 --threads 1
}

@test "rows of a database, appended; the table is the one described" {
    "$BIN/slm-bench" "${small[@]}" --db "$T/b.db"
    "$BIN/slm-bench" "${small[@]}" --kernels ref --db "$T/b.db" --profile
    python3 - "$T/b.db" schemas/bench.sql <<'END'
import re, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
rows = db.execute("""SELECT kind, tokens, batch, outside_matrices, tokens_per_second, lowest,
                            highest FROM results ORDER BY id""").fetchall()
assert [r[:3] for r in rows] == [("prefill", 4, 4), ("decode", 2, 1)] * 2, rows
assert all(r[3] is None for r in rows[:2]) and all(0 <= r[3] <= 1 for r in rows[2:])
assert all(r[4] == r[5] == r[6] > 0 for r in rows)
described = "".join(l for l in open(sys.argv[2]) if not l.startswith("--")).strip()
made = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'results'").fetchone()[0]
assert described.replace(" IF NOT EXISTS", "").rstrip(";") == made, made
assert db.execute("PRAGMA application_id").fetchone() == (0x534c4d42,)
END
    sqlite3 "$T/other.db" 'CREATE TABLE mine (x)' || skip "sqlite3 is not installed"
    run -3 "$BIN/slm-bench" "${small[@]}" --db "$T/other.db"
    [ "$(sqlite3 "$T/other.db" .schema)" = "CREATE TABLE mine (x);" ]
    echo "this is no database, whatever its name says it is" >"$T/text.db"
    run -3 "$BIN/slm-bench" "${small[@]}" --db "$T/text.db"
    run -4 "$BIN/slm-bench" "${small[@]}" --db "$T/absent/b.db"
}

@test "misuse" {
    while IFS='|' read -r code message arguments; do
        read -ra words <<<"$arguments"
        run "-$code" --separate-stderr "$BIN/slm-bench" "${words[@]}"
        [[ "$stderr" == *"$message"* ]] || { echo "$arguments: $stderr"; false; }
        run "-$code" --separate-stderr "$BIN/slm-bench" "${words[@]}" --json
        valid failure <<<"$output"
    done <<'END'
2|name a model|
2|name a model|model.slm -s tiny
2|'huge' is not one of|-s huge
2|'Q9' is not one of|-s tiny --type Q9
2|--write|model.slm --write x.slm
2|--type|model.slm --type Q8_0
2|--prompt: 'x'|-s tiny --prompt 4,x
2|--threads: '0'|-s tiny --threads 0
2|--batch: ''|-s tiny --batch 1,
2|--kv: 'f64'|-s tiny --kv f64
2|nothing to measure|-s tiny --prompt 0 --gen 0
2|more than 16 values|-s tiny --prompt 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
2|more than 64 combinations|-s tiny --prompt 1,2,3,4,5,6,7,8,9 --depth 1,2,3,4,5,6,7,8
2|more than 64 combinations|-s tiny --threads 1,1,1,1,1,1,1,1,1,1,1,1,1 --kv f16,f16,f16,f16,f16
2|kernels 'none' are not available|-s tiny --kernels none
3|scripts/sizes.awk|scripts/sizes.awk
4|absent.slm|absent.slm
END
}
