# slm-eval gate: verdicts that a script computes anew from the database's results, the manifest, and
# what must make a gate fail: a damaged kernel, too few bits, figures that are missing.

bats_require_minimum_version 1.5.0

setup_file() {
    SLM_BIN=$(realpath "${SLM_BIN:-bin}")
    export SLM_BIN D="$BATS_FILE_TMPDIR"
    export PPL='{"id": "ppl", "kind": "limit", "suite": "mini",
        "metric": "perplexity.perplexity", "max": 1000}'
    python3 - "$D/mini.jsonl" <<'PY'
import json, sys
text = {"text": "once upon a time there was a little girl. she went to the park to play.",
        "window": 64, "stride": 32}
lines = [{"slm_suite": 1, "name": "mini", "description": "for these tests"},
         {"id": "a", "kind": "generate", "prompt": "once upon a time", "max_tokens": 4,
          "checks": [{"type": "contains", "value": "there"}]},
         {"id": "b", "kind": "generate", "prompt": "the sun was", "max_tokens": 2,
          "checks": [{"type": "exact", "value": "no model says this"}]},
         {"id": "c1", "kind": "choice", "prompt": "the dog was very",
          "choices": [" happy", " xyzzy"], "answer": 0},
         {"id": "c2", "kind": "choice", "prompt": "she went to the",
          "choices": [" park", " qqq"], "answer": 0},
         {"id": "p", "kind": "perplexity", **text}, {"id": "d", "kind": "divergence", **text}]
open(sys.argv[1], "w").write("\n".join(map(json.dumps, lines)) + "\n")
PY
    "$SLM_BIN/slm-convert" -q evals/models/tinystories-2.6m -o "$D/base.slm"
    "$SLM_BIN/slm-quantize" -q "$D/base.slm" "$D/q4.slm" --type Q4_K_M
    "$SLM_BIN/slm-quantize" -q "$D/base.slm" "$D/hard.slm" --type Q4_0
    for model in q4 hard; do
        "$SLM_BIN/slm-eval" run "$D/$model.slm" "$D/mini.jsonl" --db "$D/r.db" \
            --baseline "$D/base.slm" >"$D/$model.txt"
    done
}

setup() {
    T="$BATS_TEST_TMPDIR"
}

policy() { # GATES: the inside of a JSON list
    echo "{\"slm_policy\": 1, \"name\": \"test\", \"gates\": [$1]}" >"$T/p.json"
}

gate() { # MODEL OPTIONS...
    "$SLM_BIN/slm-eval" gate "$D/$1.slm" --db "$D/r.db" --policy "$T/p.json" -o "$T/m.json" "${@:2}"
}

field() { # PYTHON EXPRESSION on m, the manifest
    python3 -c "import json; m = json.load(open('$T/m.json')); print($1)"
}

@test "verdicts and observed values are those of the database's results" {
    policy '{"id": "ppl", "kind": "limit", "suite": "mini",
        "metric": "perplexity.perplexity", "max": 1000},
        {"id": "ppl-low", "kind": "limit", "suite": "mini",
            "metric": "perplexity.perplexity", "max": 1.5},
        {"id": "top1", "kind": "limit", "suite": "mini",
            "metric": "divergence.top1_agreement", "min": 0.1},
        {"id": "rec", "kind": "recovery", "suite": "mini", "metric": "perplexity.nll", "min": 0.5},
        {"id": "rec-acc", "kind": "recovery", "suite": "mini",
            "metric": "choice.accuracy", "level": "high"},
        {"id": "margin", "kind": "non_inferiority", "suite": "mini",
            "metric": "choice.accuracy", "margin": 0},
        {"id": "lost", "kind": "flips", "suite": "mini", "max": 0},
        {"id": "few", "kind": "limit", "suite": "mini",
            "metric": "choice.accuracy", "min": 0, "min_n": 3},
        {"id": "file", "kind": "resource", "metric": "file_bytes", "max": 1}'
    run -1 gate q4
    [[ "$output" == *"ppl-low "*"failed: "* ]]
    python3 - "$D/r.db" "$T/m.json" "$D/q4.slm" <<'PY'
import json, math, os, sqlite3, struct, sys
db, m = sqlite3.connect(sys.argv[1]), json.load(open(sys.argv[2]))
gates = {g["id"]: g for g in m["gates"]}

def rows(model, kind, columns):
    return db.execute(f"""SELECT {columns} FROM results x JOIN cases c ON c.id = x.case_id
        JOIN runs r ON r.id = x.run_id WHERE r.model_name = ? AND c.kind = ?
        ORDER BY c.name""", (model, kind)).fetchall()

def nll(model):
    blob = db.execute("""SELECT v.data FROM vectors v JOIN results x ON x.id = v.result_id
        JOIN runs r ON r.id = x.run_id JOIN cases c ON c.id = x.case_id
        WHERE r.model_name = ? AND v.name = 'nll' AND c.kind = 'perplexity'""",
        (model,)).fetchone()[0]
    values = struct.unpack(f"<{len(blob) // 8}d", blob)
    return sum(values) / len(values)

ppl = math.exp(nll("q4.slm"))
close = lambda a, b: abs(a - b) <= 1e-9 * abs(b)
assert close(gates["ppl"]["observed"], ppl), (gates["ppl"], ppl)
assert gates["ppl"]["verdict"] == "passed" and gates["ppl-low"]["verdict"] == "failed"
assert close(gates["rec"]["observed"], nll("base.slm") / nll("q4.slm")), gates["rec"]
acc = {n: [p for p, in rows(n, "choice", "x.passed")] for n in ("q4.slm", "base.slm")}
assert close(gates["rec-acc"]["observed"], sum(acc["q4.slm"]) / sum(acc["base.slm"]))
assert gates["margin"]["observed"] == (sum(acc["q4.slm"]) - sum(acc["base.slm"])) / 2
verdicts = {n: rows(n, "choice", "x.passed") + rows(n, "generate", "x.passed") for n in acc}
lost = sum(b == (1,) and a == (0,) for b, a in zip(verdicts["base.slm"], verdicts["q4.slm"]))
assert gates["lost"]["observed"] == lost and gates["lost"]["n"] == 4
assert gates["few"]["verdict"] == "inconclusive" and "2 cases only" in gates["few"]["reason"]
size = os.path.getsize(sys.argv[3])
assert gates["file"]["observed"] == size == m["subject"]["bytes"] == m["resources"]["file_bytes"]
assert gates["logits-digest"]["verdict"] == "passed"
assert m["result"] == "failed"
stored = dict(db.execute("SELECT gate, verdict FROM gates WHERE decision = "
                         "(SELECT max(decision) FROM gates)").fetchall())
assert stored == {k: g["verdict"] for k, g in gates.items()}
PY
}

@test "the manifest: its schema, its hash, the same twice, and it holds for the model [EV57]" {
    policy "$PPL"
    run -0 gate q4
    python3 tests/lib/json_schema.py schemas/policy.schema.json <"$T/p.json"
    python3 tests/lib/json_schema.py schemas/quality.schema.json <"$T/m.json"
    [ "$(field 'm["subject"]["sha256"]')" = "$(sha256sum <"$D/q4.slm" | cut -d ' ' -f 1)" ]
    [ "$(field 'm["baseline"]["sha256"]')" = "$(sha256sum <"$D/base.slm" | cut -d ' ' -f 1)" ]
    [ "$(field 'm["policy"]["sha256"]')" = "$(sha256sum <"$T/p.json" | cut -d ' ' -f 1)" ]
    cp "$T/m.json" "$T/first.json"
    run -0 gate q4 --baseline "$D/base.slm" --kernels ref --threads 1
    python3 - "$T/first.json" "$T/m.json" <<'PY'
import json, sys
a, b = (json.load(open(p)) for p in sys.argv[1:])
for m in (a, b):
    del m["volatile"], m["manifest_sha256"]
    del m["baseline"]  # the file tells more than the database
assert a == b
PY
    run -0 "$SLM_BIN/slm-validate" "$D/q4.slm" --manifest "$T/m.json"
    run -0 "$SLM_BIN/slm-run" "$D/q4.slm" --manifest "$T/m.json" -p once -n 2
    run -1 "$SLM_BIN/slm-run" "$D/hard.slm" --manifest "$T/m.json" -p once -n 2
    [[ "$output" == *"is for other bytes"* ]]
    run -0 --separate-stderr gate q4 --json
    [ "$output" = "$(cat "$T/m.json")" ]
}

@test "a model quantized too hard fails on divergence" {
    kl=$(sqlite3 "$D/r.db" "select (select value from metrics m join runs r on r.id = m.run_id where
        r.model_name = 'q4.slm' and m.name = 'divergence.kl_mean' and slice = '') * 2")
    policy "{\"id\": \"kl\", \"kind\": \"limit\", \"suite\": \"mini\",
        \"metric\": \"divergence.kl_mean\", \"max\": $kl}"
    run -0 gate q4
    run -1 gate hard
    [[ "$output" == *"kl "*"failed: "*" is above "* ]]
    [ "$(field 'm["result"]')" = failed ]
    run -1 "$SLM_BIN/slm-run" "$D/hard.slm" --manifest "$T/m.json" -p once -n 2
    [[ "$output" == *'verdict on '*' is "failed"'* ]]
}

@test "a damaged kernel, one scale off by one, fails on the digest" {
    grep -q __asan_init "$SLM_BIN/slm-eval" && skip "the damaged build is the same one"
    mkdir "$T/src"
    cp -r Makefile runtime tools "$T/src/"
    sed -i 's/scale\[0\] = a & low6;/scale[0] = (a \& low6) ^ vu_splat(1);/' \
        "$T/src/runtime/kernels/matmul_q.h"
    run ! cmp runtime/kernels/matmul_q.h "$T/src/runtime/kernels/matmul_q.h"
    make -s -C "$T/src" -j2 CFLAGS=-O1 bin/slm-eval bin/slm-run >"$T/log" 2>&1 ||
        { tail "$T/log"; false; }
    policy "$PPL"
    gate q4 -q
    run -1 "$T/src/bin/slm-run" "$D/q4.slm" --manifest "$T/m.json" -p once -n 2
    [[ "$output" == *"does not compute what the manifest promises"* ]]
    if [ "$("$SLM_BIN/slm-run" --help | sed -n 's/.*kernels here: //p')" != ref ]; then
        run -1 "$T/src/bin/slm-eval" gate "$D/q4.slm" --db "$D/r.db" --policy "$T/p.json" \
            -o "$T/m.json"
        [[ "$output" == *"logits-digest "*"failed: kernels "* ]]
    fi
}

@test "what was not measured is inconclusive, exit 6 [EV38]" {
    mini='"suite": "mini"'
    for gate in \
        '"kind": "limit", "suite": "other",
            "metric": "errors", "max": 0|no complete run of suite other' \
        "\"kind\": \"limit\", $mini, \"metric\": \"choice.accuracy\",
            \"min\": 0, \"min_n\": 100|over 2 cases only, 100 are wanted" \
        "\"kind\": \"flips\", $mini, \"metric\": \"choice.accuracy\",
            \"max\": 2, \"min_n\": 100|over 2 cases only, 100 are wanted"; do
        policy "{\"id\": \"x\", ${gate%|*}}"
        run -6 gate q4
        [[ "$output" == *"x "*"inconclusive: "*"${gate#*|}"* ]] || { echo "$output"; false; }
        [ "$(field 'm["result"]')" = inconclusive ]
        python3 tests/lib/json_schema.py schemas/quality.schema.json <"$T/m.json"
    done
    policy '{"id": "x", "kind": "recovery", "suite": "mini", "metric": "choice.accuracy", "min": 1}'
    run -6 "$SLM_BIN/slm-eval" gate "$D/base.slm" --db "$D/r.db" --policy "$T/p.json" -o "$T/m.json"
    [[ "$output" == *"there is no baseline"* ]]
    # without a baseline, divergence was left out of the run
    "$SLM_BIN/slm-eval" run "$D/q4.slm" "$D/mini.jsonl" --db "$T/alone.db" >"$T/run.txt"
    policy "{\"id\": \"x\", \"kind\": \"limit\", $mini,
        \"metric\": \"divergence.kl_mean\", \"max\": 1}"
    run -6 "$SLM_BIN/slm-eval" gate "$D/q4.slm" --db "$T/alone.db" --policy "$T/p.json" \
        -o "$T/m.json"
    [[ "$output" == *"no case of suite mini was measured for divergence.kl_mean"* ]]
}

@test "a gate on what no case gives fails: it must not pass by absence [EV36, EV37]" {
    for gate in \
        '"kind": "limit", "suite": "mini",
            "metric": "cloze.nll", "max": 9|no case of suite mini gives cloze.nll' \
        '"kind": "limit", "suite": "mini",
            "metric": "choice.acuracy", "min": 0|no case of suite mini gives choice.acuracy' \
        '"kind": "limit", "suite": "mini", "metric": "errors", "slice": "rare",
            "max": 9|no case of suite mini with tag rare gives errors' \
        '"kind": "recovery", "suite": "mini", "metric": "cloze.nll",
            "min": 0|no case of suite mini gives cloze.nll' \
        '"kind": "flips", "suite": "mini",
            "metric": "cloze.nll", "max": 0|no case of suite mini gives cloze.nll' \
        '"kind": "flips", "suite": "mini", "slice": "rare",
            "max": 0|no case of suite mini with tag rare gives a verdict' \
        '"kind": "non_inferiority", "suite": "mini",
            "metric": "cloze.accuracy", "margin": 0|no case of suite mini gives cloze.accuracy'; do
        policy "{\"id\": \"x\", ${gate%|*}}"
        run -1 gate q4
        [[ "$output" == *"x "*"failed: "*"${gate#*|}"* ]] || { echo "$output"; false; }
        [ "$(field 'm["result"]')" = failed ]
        python3 tests/lib/json_schema.py schemas/quality.schema.json <"$T/m.json"
    done
}

@test "malformed policies [EV35]" {
    good='"id": "x", "kind": "limit", "suite": "s", "metric": "m"'
    for case in \
        '|gates must be a list of 1 to 1000' \
        '7|gates[0] must be an object' \
        '{"kind": "limit"}|id is missing' \
        '{"id": ""}|id must have 1 to 256 bytes' \
        '{"id": "x", "kind": "digest"}|the kind "digest" is unknown' \
        '{"id": "x", "kind": "limit", "suite": "s", "max": 1}|metric is missing' \
        "{$good}|needs min or max" \
        "{$good, \"min\": 1, \"max\": 2}|needs min or max, and no other" \
        "{$good, \"max\": \"1\"}|max must be a number" \
        "{\"id\": \"x\", \"kind\": \"recovery\", \"suite\": \"s\",
            \"metric\": \"m\", \"min\": -1}|min must be a number from 0" \
        "{$good, \"max\": 1, \"maximum\": 1}|the key \"maximum\" is unknown" \
        "{$good, \"max\": 1, \"min_n\": 0}|min_n must be a whole number from 1" \
        "{$good, \"max\": 1}, {$good, \"max\": 1}|the id stands twice" \
        '{"id": "logits-digest", "kind": "flips", "suite": "s", "max": 1}|the id stands twice' \
        '{"id": "x", "kind": "recovery", "suite": "s", "metric": "m"}|needs either min or level' \
        '{"id": "x", "kind": "recovery", "suite": "s",
            "metric": "m", "level": "low"}|must be standard or high' \
        '{"id": "x", "kind": "non_inferiority", "suite": "s",
            "metric": "m", "margin": -1}|margin must be a number from 0' \
        '{"id": "x", "kind": "resource", "metric": "speed", "max": 1}|metric must be file_bytes' \
        '{"id": "x", "kind": "resource", "suite": "s",
            "metric": "file_bytes", "max": 1}|belongs to no suite'; do
        policy "${case%|*}"
        run --separate-stderr -3 gate q4
        [[ "$stderr" == *"p.json: "*"${case##*|}"* || "$stderr" == *"p.json: "*"${case#*|}"* ]] ||
            { echo "$case: $stderr"; false; }
    done
    for number in NaN Infinity 1e999; do
        policy "{$good, \"max\": $number}"
        run --separate-stderr -3 gate q4
        [[ "$stderr" == *"p.json:1:"* ]]
    done
    echo '{"name": "x", "gates": []}' >"$T/p.json"
    run --separate-stderr -3 gate q4
    [[ "$stderr" == *'"slm_policy": 1 is missing'* ]]
    [ ! -e "$T/m.json" ]
}

@test "usage and I/O errors" {
    policy "$PPL"
    run -2 "$SLM_BIN/slm-eval" gate "$D/q4.slm" --policy "$T/p.json"
    run -2 "$SLM_BIN/slm-eval" gate "$D/q4.slm" --db "$D/r.db"
    run --separate-stderr -4 "$SLM_BIN/slm-eval" gate "$D/q4.slm" --db "$T/no.db" \
        --policy "$T/p.json"
    [[ "$stderr" == *"no.db: cannot be opened"* ]]
    [ ! -e "$T/no.db" ]
    "$SLM_BIN/slm-quantize" -q "$D/base.slm" "$T/q6.slm" --type Q6_K
    run --separate-stderr -3 "$SLM_BIN/slm-eval" gate "$T/q6.slm" --db "$D/r.db" \
        --policy "$T/p.json"
    [[ "$stderr" == *"has no results of these bytes"* ]]
    same=("$SLM_BIN/slm-eval" gate "$D/q4.slm" --db "$D/r.db" --policy "$T/p.json" -o)
    run --separate-stderr -2 "${same[@]}" "$D/q4.slm"
    [[ "$stderr" == *"is the input"* ]]
    run --separate-stderr -4 "${same[@]}" "$T/none/m.json"
    [ "$(sqlite3 "$D/r.db" "select count(*) from gates where policy_name = 'nothing'")" = 0 ]
}
