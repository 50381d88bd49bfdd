# slm-eval compare, show, export: what they print against a script's own reading of the database.

bats_require_minimum_version 1.5.0

setup_file() {
    SLM_BIN=$(realpath "${SLM_BIN:-bin}")
    export SLM_BIN D="$BATS_FILE_TMPDIR"
    python3 - "$D/mini.jsonl" <<'PY'
import json, sys
lines = [{"slm_suite": 1, "name": "mini", "description": "for these tests"}]
starts = ["the dog was", "she went to the", "he saw a", "one day the", "they had a",
          "the cat sat on the", "mom said to", "it was a very", "the bird", "lily wanted to"]
for i, start in enumerate(starts):
    for k, (a, b) in enumerate([(" big", " little"), (" happy", " sad"), (" tree", " house")]):
        lines.append({"id": f"c{i}-{k}", "kind": "choice", "prompt": start, "choices": [a, b],
                      "answer": (i + k) % 2})
    lines.append({"id": f"p{i}", "kind": "perplexity", "text": start + " happy and big.",
                  "window": 32, "stride": 16})
lines.append({"id": "g", "kind": "generate", "prompt": "once upon", "max_tokens": 30,
              "checks": [{"type": "contains", "value": "a"}]})
open(sys.argv[1], "w").write("\n".join(map(json.dumps, lines)) + "\n")
PY
    "$SLM_BIN/slm-convert" -q evals/models/tinystories-2.6m -o "$D/base.slm"
    "$SLM_BIN/slm-quantize" -q "$D/base.slm" "$D/=q4.slm" --type Q4_0
    "$SLM_BIN/slm-eval" run "$D/=q4.slm" "$D/mini.jsonl" --db "$D/r.db" \
        --baseline "$D/base.slm" >"$D/out"
}

evaluate() { "$SLM_BIN/slm-eval" "$1" --db "$D/r.db" "${@:2}"; }

@test "compare: pairs, flips and McNemar's p by hand" {
    run -0 --separate-stderr evaluate compare "$D/base.slm" "=q4.slm" --json
    echo "$output" >"$BATS_TEST_TMPDIR/c.json"
    python3 - "$D/r.db" "$BATS_TEST_TMPDIR/c.json" <<'PY'
import json, math, sqlite3, sys
db, doc = sqlite3.connect(sys.argv[1]), json.load(open(sys.argv[2]))
rows = db.execute("""SELECT c.name, c.kind, a.passed, b.passed, a.score, b.score FROM cases c
    JOIN results a ON a.case_id = c.id
    JOIN runs ra ON ra.id = a.run_id AND ra.model_name = 'base.slm'
    JOIN results b ON b.case_id = c.id
    JOIN runs rb ON rb.id = b.run_id AND rb.model_name = '=q4.slm'
    """).fetchall()
(suite,) = doc["suites"]
assert suite["cases"] == len(rows) == 41
lost = sorted(r[0] for r in rows if (r[2], r[3]) == (1, 0))
gained = sorted(r[0] for r in rows if (r[2], r[3]) == (0, 1))
assert suite["lost"] == lost and suite["gained"] == gained
kinds = {k["kind"]: k for k in suite["kinds"]}
choice = [r for r in rows if r[1] == "choice"]
b = sum((r[2], r[3]) == (1, 0) for r in choice)
c = sum((r[2], r[3]) == (0, 1) for r in choice)
n = b + c
p = min(1, 2 * sum(math.comb(n, i) for i in range(min(b, c) + 1)) / 2 ** n)
o = kinds["choice"]["outcomes"]
assert (o["n"], o["lost"], o["gained"]) == (30, b, c) and abs(o["p"] - p) < 1e-12, (o, p)
ppl = [r for r in rows if r[1] == "perplexity"]
s = kinds["perplexity"]["scores"]
assert s["n"] == 10 and abs(s["before"] - sum(r[4] for r in ppl) / 10) < 1e-12
assert abs(s["difference"] - sum(r[5] - r[4] for r in ppl) / 10) < 1e-12
assert s["low"] <= s["difference"] <= s["high"]
assert kinds["generate"]["scores"]["p"] is None  # one case
PY
    run -0 evaluate compare 1 2
    [[ "$output" == "mini: base.slm (run 1) -> =q4.slm (run 2), 41 cases in both"* ]]
    sha=$(sha256sum <"$D/=q4.slm")
    run -0 evaluate compare base.slm "${sha:0:10}" --suite mini
}

@test "show: both outputs side by side" {
    run -0 evaluate show base.slm =q4.slm --case g
    [[ "${lines[2]}" == "base.slm, run 1 "*"| =q4.slm, run 2" ]]
    text=$(sqlite3 "$D/r.db" "select output from results x join cases c on c.id = x.case_id
        where x.run_id = 2 and c.name = 'g'")
    [[ "$output" == *"| ${text:0:20}"* ]]
    run -0 --separate-stderr evaluate show --case g --json
    python3 - "$text" <<PY
import json, sys
a = json.loads('''$(printf '%s' "$output" | sed 's/\\/\\\\/g')''')["answers"]
assert [x["model"] for x in a] == ["=q4.slm", "base.slm"] and a[0]["output"] == sys.argv[1]
PY
}

@test "what models write cannot reach the terminal [EV45]" {
    cp "$D/r.db" "$BATS_TEST_TMPDIR/x.db"
    sqlite3 "$BATS_TEST_TMPDIR/x.db" "update results set
        output = 'a' || char(27) || '[2J' || char(155) || char(10) || 'b' || x'c328'
        where case_id = (select id from cases where name = 'g')"
    "$SLM_BIN/slm-eval" show --db "$BATS_TEST_TMPDIR/x.db" --case g >"$BATS_TEST_TMPDIR/out"
    python3 -c "
t = open('$BATS_TEST_TMPDIR/out', 'rb').read()
assert b'a?[2J?' in t and not set(t) & {27, 155}, t
t.decode()"
}

@test "export: csv, also to spreadsheets [EV34]; json; model-index; in-toto" {
    evaluate export --format csv >"$BATS_TEST_TMPDIR/m.csv"
    evaluate export --format json >"$BATS_TEST_TMPDIR/m.json"
    evaluate export =q4.slm --format model-index >"$BATS_TEST_TMPDIR/m.yaml"
    python3 - "$D/r.db" "$BATS_TEST_TMPDIR/m" <<'PY'
import csv, json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
want = {(m, s, n): v for m, s, n, v in db.execute("""SELECT r.model_name, t.slice, t.name, t.value
    FROM metrics t JOIN runs r ON r.id = t.run_id""")}
rows = list(csv.DictReader(open(sys.argv[2] + ".csv", newline="")))
assert len(rows) == len(want) > 10
for r in rows:
    assert r["model"][0] != "=", r
    value = want[(r["model"].lstrip("'"), r["slice"], r["metric"])]
    assert (value is None and r["value"] == "") or float(r["value"]) == value
doc = json.load(open(sys.argv[2] + ".json"))
got = {(r["model"], m["slice"], m["name"]): m["value"] for r in doc["runs"] for m in r["metrics"]}
assert got == want
yaml = open(sys.argv[2] + ".yaml").read()
assert yaml.startswith('model-index:\n- name: "=q4.slm"\n  results:\n')
value = want[("=q4.slm", "", "choice.accuracy")]
line = f'      - type: "choice.accuracy"\n        value: {value:.17g}\n'
assert line in yaml
PY
    run --separate-stderr -3 evaluate export =q4.slm --format in-toto
    [[ "$stderr" == *"no gate was applied"* ]]
    echo '{"slm_policy": 1, "name": "p", "gates": [
        {"id": "good", "kind": "limit", "suite": "mini", "metric": "errors", "max": 0},
        {"id": "none", "kind": "limit", "suite": "unrun", "metric": "errors", "max": 0},
        {"id": "bad", "kind": "resource", "metric": "file_bytes", "max": 0}]}' \
        >"$BATS_TEST_TMPDIR/p.json"
    run -1 "$SLM_BIN/slm-eval" gate "$D/=q4.slm" --db "$D/r.db" -q \
        --policy "$BATS_TEST_TMPDIR/p.json"
    evaluate export =q4.slm --format in-toto >"$BATS_TEST_TMPDIR/i.json"
    python3 - "$BATS_TEST_TMPDIR/i.json" "$(sha256sum <"$D/=q4.slm" | cut -d ' ' -f 1)" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["subject"] == [{"name": "=q4.slm", "digest": {"sha256": sys.argv[2]}}]
p = d["predicate"]
assert p["result"] == "FAILED" and p["passedTests"] == ["good", "logits-digest"]
assert p["warnedTests"] == ["none"] and p["failedTests"] == ["bad"]
PY
}

@test "usage errors" {
    run -2 "$SLM_BIN/slm-eval" compare a b
    run -2 "$SLM_BIN/slm-eval" show --case g
    run -2 "$SLM_BIN/slm-eval" export --format csv
    run -2 evaluate export --format xml
    run -2 evaluate export --format in-toto
    run -3 evaluate compare base.slm nothing.slm
    [[ "$output" == *"there is no run of nothing.slm"* ]]
    run -3 evaluate compare 1 99
    [[ "$output" == *"there is no run 99"* ]]
    run -3 evaluate show --case nothing
    [[ "$output" == *'no result of a case "nothing"'* ]]
    run -4 "$SLM_BIN/slm-eval" compare a b --db "$D/none.db"
    [ ! -e "$D/none.db" ]
}
