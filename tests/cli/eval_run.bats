# slm-eval run, merge and import: what is done once stays done, whoever does it; reports; shards.
# Malformed suites are in eval_suite.bats, databases in eval_store.bats, kills in eval_kill.bats.

bats_require_minimum_version 1.5.0

setup_file() {
    export BIN="$PWD/${SLM_BIN:-bin}"
    [[ "${SLM_BIN:-bin}" = /* ]] && BIN="$SLM_BIN"
    export EVAL="$BIN/slm-eval" ROOT="$PWD"
    export BASE="$BATS_FILE_TMPDIR/base.slm" MODEL="$BATS_FILE_TMPDIR/model.slm"
    "$BIN/slm-convert" evals/models/tinystories-2.6m -o "$BASE" -q
    "$BIN/slm-quantize" "$BASE" "$MODEL" --type Q4_0 -q
    export SUITE="$PWD/tests/cli/eval_try.jsonl" # a case of every kind, one impossible, one failing
}

setup() {
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
    cp "$MODEL" model.slm
    cp "$BASE" base.slm
    cp "$SUITE" try.jsonl
}

query() { # EXPRESSION about the document d on standard input
    python3 "$ROOT/tests/lib/json_query.py" "$(tr '\n' ' ' <<< "$1")"
}

go() { # DB OPTIONS...
    local db=$1
    shift
    run --separate-stderr "$EVAL" run model.slm try.jsonl --db "$db" --baseline base.slm \
        --max-errors 9 "$@"
    echo "exit $status, stderr: $stderr, stdout: $output"
}

figures() { # DB: all that must not depend on how the work was done
    sqlite3 "$1" "SELECT r.model_name, c.name, x.status, x.passed, x.score, x.error, hex(x.output),
        x.detail, (SELECT group_concat(name || hex(data)) FROM vectors v WHERE v.result_id = x.id)
        FROM results x JOIN cases c ON c.id = x.case_id JOIN runs r ON r.id = x.run_id
        ORDER BY r.model_name, c.name;
        SELECT r.model_name, m.slice, m.name, m.n, m.value, m.stderr, m.low, m.high FROM metrics m
        JOIN runs r ON r.id = m.run_id ORDER BY r.model_name, m.slice, m.name"
}

same_figures() { # DB DB
    figures "$1" > one
    figures "$2" > other
    [ "$(wc -l < one)" -gt 40 ]
    cmp one other
}

@test "a run, its document, its database" {
    go r.db --json
    [ "$status" -eq 0 ] && [ -z "$stderr" ]
    echo "$output" | python3 "$ROOT/tests/lib/json_schema.py" "$ROOT/schemas/eval-run.schema.json"
    echo "$output" | query '
        [(r["model"], r["is_baseline"], r["cases"], r["done"], r["errors"], r["new"], r["status"])
            for r in d["runs"]] ==
        [("base.slm", True, 9, 9, 1, 9, "complete"),
            ("model.slm", False, 10, 10, 1, 10, "complete")]
        and d["runs"][1]["model_sha256"] != d["runs"][0]["model_sha256"] ==
            d["runs"][1]["baseline_sha256"] and d["database_bytes"] >= '"$(stat -c %s r.db)"
    echo "$output" | query '
        {(m["slice"], m["name"]): m["n"] for m in d["runs"][1]["metrics"]
            if m["name"].startswith("choice.acc") and m["name"].endswith("acy")} ==
        {("", "choice.accuracy"): 2, ("a", "choice.accuracy"): 2, ("b", "choice.accuracy"): 1}'
    [ "$(sqlite3 r.db 'PRAGMA integrity_check; PRAGMA foreign_key_check')" = ok ]
    [ "$(sqlite3 r.db 'PRAGMA journal_mode')" = wal ]
    [ "$(sqlite3 r.db 'SELECT DISTINCT model FROM latest ORDER BY 1' | tr '\n' ' ')" = \
        "base.slm model.slm " ]
    [ "$(sqlite3 r.db "SELECT count(*) FROM leaderboard WHERE metric = 'choice.accuracy'")" = 2 ]
    [ "$(sqlite3 r.db "SELECT count(*) FROM case_history WHERE case_name = 'gap'")" = 2 ]
    sqlite3 r.db 'SELECT * FROM regressions; SELECT * FROM changes' > views
}

@test "a finished run is not done again, unless asked to be" {
    go r.db
    figures r.db > before
    local counts='SELECT sum(id), count(*) FROM results; SELECT count(*) FROM attempts'
    sum=$(sqlite3 r.db "$counts")
    go r.db --json
    [ "$status" -eq 0 ]
    echo "$output" | query '[r["new"] for r in d["runs"]] == [0, 0]'
    [ "$(sqlite3 r.db "$counts")" = "$sum" ]
    figures r.db | cmp - before
    go r.db --again --json
    echo "$output" | query '[(r["new"], r["run"]) for r in d["runs"]] == [(9, 3), (10, 4)]'
    [ "$(sqlite3 r.db "SELECT count(*) FROM case_history WHERE change = 'same' AND run > 2")" = 19 ]
    sqlite3 r.db "SELECT * FROM changes WHERE against = 'previous' AND verdict <> 'same'" > moved
    [ ! -s moved ]
}

@test "--limit leaves a run open, and the next one goes on [EV56]" {
    go r.db --limit 4 --json
    echo "$output" | query '[(r["done"], r["status"]) for r in d["runs"]] == [(4, "open")] * 2'
    go r.db --json
    echo "$output" | query '[(r["done"], r["new"], r["status"]) for r in d["runs"]] ==
        [(9, 5, "complete"), (10, 6, "complete")]'
    go whole.db
    same_figures r.db whole.db
}

@test "threads, kernels and locale change no figure [EV48, EV52, EV54]" {
    go one.db --threads 1
    go two.db --threads 2 --kernels ref
    same_figures one.db two.db
    LC_ALL=de_DE.UTF-8 TZ=Asia/Kathmandu go eight.db --threads 8
    same_figures one.db eight.db
    go one.db --threads 2 --json # the finished run is the same one
    echo "$output" | query '[r["new"] for r in d["runs"]] == [0, 0]'
}

@test "the order of cases changes no figure: it is the same suite [EV55]" {
    go one.db
    { head -n 1 "$SUITE"; tail -n +2 "$SUITE" | sort -r; } > try.jsonl
    run ! cmp -s try.jsonl "$SUITE"
    go other.db
    same_figures one.db other.db
    go one.db --json
    echo "$output" | query '[r["new"] for r in d["runs"]] == [0, 0]'
    [ "$(sqlite3 one.db 'SELECT count(*) FROM suites')" = 1 ]
}

@test "a case changed by one byte: only it is done again, and that is stated [EV50]" {
    go r.db --limit 8
    sed -i 's/small house/tall house/' try.jsonl # in read and in apart
    go r.db --json
    [ "$status" -eq 0 ]
    [[ "$stderr" == *"run 2 is not complete and stays so: the suite has other cases now"* ]]
    echo "$output" | query '[(r["run"], r["new"], r["reused"], r["done"]) for r in d["runs"]] ==
        [(3, 2, 7, 9), (4, 4, 6, 10)]' || echo "$output" | query 'd["runs"]'
    go whole.db
    figures r.db | grep -c . # the old run is there too
    [ "$(sqlite3 r.db "SELECT hex(data) FROM vectors v JOIN results x ON x.id = v.result_id
        WHERE x.run_id = 4 AND v.name = 'kl'")" = \
        "$(sqlite3 whole.db "SELECT hex(data) FROM vectors WHERE name = 'kl'")" ]
    [ "$(sqlite3 r.db "SELECT status FROM runs WHERE id = 2")" = open ]
}

@test "another model under the same name is another run [EV51]" {
    go r.db --limit 5
    "$BIN/slm-quantize" base.slm model.slm --type Q8_0 -q --force
    go r.db --json
    [[ "$stderr" == *"run 2 is not complete and stays so: the model has other bytes now"* ]]
    echo "$output" | query 'd["runs"][1]["new"] == 10 and d["runs"][1]["reused"] == 0'
}

@test "other settings are another run" {
    go r.db --limit 5
    go r.db --kv f32 --json
    [[ "$stderr" == *"the settings differ"* ]]
    echo "$output" | query '[r["reused"] for r in d["runs"]] == [0, 0]'
    go r.db --ctx 12 --json
    echo "$output" | query 'd["runs"][1]["errors"] > 2 and d["runs"][1]["context"] == 12'
}

@test "without a baseline: divergence is left out, with a warning, and nothing is done twice" {
    run --separate-stderr "$EVAL" run model.slm try.jsonl --db r.db --max-errors 1
    [ "$status" -eq 0 ] && [[ "$stderr" == *"1 cases of kind divergence are left out"* ]]
    go r.db --json
    echo "$output" | query '[(r["new"], r["reused"]) for r in d["runs"]] == [(9, 0), (1, 9)]'
    { head -n 1 "$SUITE"; grep apart "$SUITE"; } > only.jsonl
    run --separate-stderr "$EVAL" run model.slm only.jsonl --db r.db
    [ "$status" -eq 2 ] && [[ "$stderr" == *"--baseline"* ]]
}

@test "a baseline with another tokenizer is refused" {
    local source="$ROOT/${SLM_SHARED:-../shared}/models/TinyStories-656K"
    [ -d "$source" ] || skip "needs shared/models"
    "$BIN/slm-convert" "$source" -o other.slm -q
    run --separate-stderr "$EVAL" run model.slm try.jsonl --db r.db --baseline other.slm
    [ "$status" -eq 3 ] && [[ "$stderr" == *"tokenizer"* ]] && [ ! -e r.db ]
}

@test "a baseline whose tokenizer has as many tokens, but others, is refused [TK57]" {
    cp -r "$ROOT/evals/models/tinystories-2.6m" other
    python3 - <<'PY'
import json
tokenizer = json.load(open("other/tokenizer.json"))
vocab = tokenizer["model"]["vocab"]
a, b = list(vocab)[-2:]
vocab[a], vocab[b] = vocab[b], vocab[a]
json.dump(tokenizer, open("other/tokenizer.json", "w"))
PY
    "$BIN/slm-convert" other -o other.slm -q
    run -3 --separate-stderr "$EVAL" run model.slm try.jsonl --db r.db --baseline other.slm
    [[ "$stderr" == *"its tokenizer is not that of"* ]] && [ ! -e r.db ]
}

@test "a model against itself does not diverge [EV61]" {
    run "$EVAL" run base.slm try.jsonl --db r.db --baseline base.slm --max-errors 2
    [ "$status" -eq 0 ]
    metric() {
        sqlite3 r.db "SELECT value FROM metrics WHERE name = 'divergence.$1'"
    }
    [ "$(metric kl_max)" = 0.0 ] && [ "$(metric rms_delta_p)" = 0.0 ]
    [ "$(metric top1_agreement)" = 1.0 ] && [ "$(metric perplexity_ratio)" = 1.0 ]
}

@test "exit 1 for some errors, 3 for all; an unreadable model is no failed case [EV43, EV44]" {
    run "$EVAL" run model.slm try.jsonl --db r.db
    [ "$status" -eq 1 ]
    { head -n 1 "$SUITE"; grep too-long "$SUITE"; } > only.jsonl
    run --separate-stderr "$EVAL" run model.slm only.jsonl --db s.db --json
    [ "$status" -eq 3 ]
    echo "$output" | query 'd["runs"][0]["errors"] == 1' # one document, the report
    head -c 1000 model.slm > cut.slm
    run --separate-stderr "$EVAL" run cut.slm try.jsonl --db t.db --json
    [ "$status" -eq 3 ] && [ ! -e t.db ]
    echo "$output" | python3 "$ROOT/tests/lib/json_schema.py" "$ROOT/schemas/failure.schema.json"
    run --separate-stderr "$EVAL" run absent.slm try.jsonl --db t.db
    [ "$status" -eq 4 ]
    "$BIN/slm-convert" "$ROOT/evals/models/tinystories-2.6m" -o bare.slm --no-tokenizer -q
    run --separate-stderr "$EVAL" run bare.slm try.jsonl --db t.db
    [ "$status" -eq 3 ] && [[ "$stderr" == *"tokenizer"* ]]
}

@test "an option that no token of the prompt stands before is an error of its case [EV18]" {
    cp -r "$ROOT/evals/models/tinystories-2.6m" source
    python3 - <<'END'
import json
for name, key, value in (("tokenizer", "post_processor", None),
                         ("tokenizer_config", "add_bos_token", False)):
    d = json.load(open(f"source/{name}.json"))
    d[key] = value # no start token
    json.dump(d, open(f"source/{name}.json", "w"))
END
    "$BIN/slm-convert" source -o other.slm -q
    # "the" is one token, of which "th" is no part
    printf '%s\n' '{"slm_suite": 1, "name": "x"}' \
        '{"id": "a", "kind": "choice", "prompt": "th", "choices": ["e", "is"], "answer": 0}' \
        > x.jsonl
    run --separate-stderr "$EVAL" run other.slm x.jsonl --db r.db
    echo "$output"
    [ "$status" -eq 3 ] && [[ "$output" == *"no token of the prompt stands before it"* ]]
}

@test "JUnit: well-formed, counted, escaped [EV45, EV46]" {
    local text='"kind": "tokenize", "text": "]]>&<\u0001\u001b[31m\ufffe"'
    printf '%s\n' '{"id": "<&\">'"'"' ]]> \u202e", '"$text}" \
        '{"id": "xml", "ids": [1], '"$text}" >> try.jsonl
    go r.db --junit out.xml
    [ "$status" -eq 0 ]
    python3 - <<'END'
import xml.etree.ElementTree as E
root = E.parse("out.xml").getroot()
suite = root.find("testsuite")
cases = suite.findall("testcase")
assert len(root.findall("testsuite")) == 1, "the baseline's run is not in it"
counts = [suite.get(k) for k in ("tests", "failures", "errors")]
assert counts == ["12", "2", "1"], counts
assert len(cases) == 12 and "<&\">' ]]> \u202e" in [c.get("name") for c in cases]
by_name = {c.get("name"): c for c in cases}
assert by_name["too-long"].find("error") is not None
assert "]]>&<" in by_name["xml"].find("failure").text
assert by_name["write"].find("failure") is None
END
    go r.db --junit absent/out.xml
    [ "$status" -eq 4 ]
}

@test "GitHub annotations name file and line; no text can begin a command [EV45, EV46]" {
    printf '%s\n' '{"id": "a,b:c\u2028%", "kind": "tokenize", "ids": [1], '"\
\"text\": \"x\\n::error::y\\r%0A\"}" >> try.jsonl
    go r.db --github
    [ "$(grep -c '^::error' <<< "$output")" = 3 ]
    local at='^::error file=try.jsonl,line'
    grep -q "$at=3,title=fail::did not pass; the model wrote: " <<< "$output"
    grep -q "$at=11,title=too-long::the window of 4000 tokens" <<< "$output"
    grep -qF 'title=a%2Cb%3Ac' <<< "$output"
    grep -qF 'the model wrote: x%0A::error::y%0D%250A' <<< "$output"
    grep -q '^::notice title=try::3 of 11 cases did not pass$' <<< "$output"
    go r.db --github --json
    [ "$status" -eq 2 ]
}

@test "progress has the time left; misuse names the option" {
    go r.db --progress
    [[ "$stderr" == *"try on model.slm"*"%"* ]]
    for bad in "--shard 0/2" "--shard 3/2" "--shard 2" "--shard a/b" "--shard 1/" "--kv q2" \
        "--threads 0" "--limit 0" "--wait x"; do
        go r.db $bad
        [ "$status" -eq 2 ] && [[ "$stderr" == *"${bad%% *}"* ]]
    done
    run --separate-stderr "$EVAL" run model.slm try.jsonl
    [ "$status" -eq 2 ] && [[ "$stderr" == *"--db"* ]]
    for command in run merge import; do
        [ "$("$EVAL" $command --help | wc -L)" -le 100 ]
    done
}

@test "two processes at once share one run: nothing lost, nothing twice [EV53, DB11]" {
    { head -n 1 "$SUITE"
      for i in $(seq 60); do
          echo '{"id": "c'"$i"'", "kind": "choice", "prompt": "story '"$i"': once upon a",
              "choices": [" time", " dog"], "answer": 0}' | tr '\n' ' '
          echo
      done; } > try.jsonl
    "$EVAL" run model.slm try.jsonl --db r.db --json > one.json &
    local first=$!
    "$EVAL" run model.slm try.jsonl --db r.db --json > two.json
    wait "$first"
    [ "$(sqlite3 r.db 'SELECT count(*), count(DISTINCT case_id) FROM results')" = "60|60" ]
    [ "$(sqlite3 r.db 'SELECT count(*) FROM runs')" = 1 ]
    python3 - <<'END'
import json
done = [json.load(open(f))["runs"][0] for f in ("one.json", "two.json")]
assert done[0]["new"] + done[1]["new"] == 60, done
assert all(d["status"] == "complete" for d in done), done
END
}

@test "shards, merged in any order and twice, are the whole [shards]" {
    go whole.db
    for part in 1 2 3; do # not i, which bats uses
        go "$part.db" --shard "$part/3" --json
        echo "$output" | query "d['shard'] == '$part/3' and d['runs'][1]['status'] == 'open'"
    done
    run --separate-stderr "$EVAL" merge --db all.db 3.db 1.db
    [ "$status" -eq 1 ] && [[ "$stderr" == *"shards are missing"* ]]
    run --separate-stderr "$EVAL" merge --db all.db 1.db 2.db 3.db --json
    [ "$status" -eq 0 ]
    echo "$output" | python3 "$ROOT/tests/lib/json_schema.py" "$ROOT/schemas/eval-merge.schema.json"
    echo "$output" | query '[s["taken"] for s in d["shards"]] == [0, 5, 0] and
        [r["status"] for r in d["runs"]] == ["complete"] * 2'
    same_figures all.db whole.db
    figures all.db > before
    run "$EVAL" merge --db all.db 2.db 3.db 1.db 1.db
    [ "$status" -eq 0 ]
    figures all.db | cmp - before
    go all.db --json
    echo "$output" | query '[r["new"] for r in d["runs"]] == [0, 0]'
}

@test "merge refuses other models, other suites, other results; and its target stays as it was" {
    go a.db --shard 1/2
    go b.db --shard 2/2 --kv f32
    run --separate-stderr "$EVAL" merge --db all.db a.db b.db
    [ "$status" -eq 3 ] && [[ "$stderr" == *"not of one run"* ]] && [ ! -e all.db ]
    cp model.slm kept.slm
    "$BIN/slm-quantize" base.slm model.slm --type Q8_0 -q --force
    go c.db --shard 2/2
    run --separate-stderr "$EVAL" merge --db all.db a.db c.db
    [ "$status" -eq 3 ] && [[ "$stderr" == *"model.slm"* ]] && [ ! -e all.db ]
    cp kept.slm model.slm
    sed -i 's/small/tall/' try.jsonl
    go d.db --shard 2/2
    run --separate-stderr "$EVAL" merge --db all.db a.db d.db
    [ "$status" -eq 3 ] && [ ! -e all.db ]
    cp a.db e.db
    sqlite3 e.db "UPDATE results SET score = 0.125 WHERE score = 1"
    run "$EVAL" merge --db all.db a.db
    figures all.db > before
    run --separate-stderr "$EVAL" merge --db all.db e.db
    [ "$status" -eq 3 ] && [[ "$stderr" == *"another result"*"nothing was merged"* ]]
    figures all.db | cmp - before
    run --separate-stderr "$EVAL" merge --db all.db absent.db
    [ "$status" -eq 4 ]
    run --separate-stderr "$EVAL" merge a.db
    [ "$status" -eq 2 ]
}

@test "import: the three forms of llm-foundry, what is left out, what is refused" {
    cat > in.jsonl <<'END'
{"query": "Question: why? ", "choices": ["because", "yes"], "gold": 1, "category": "c"}
{"context_options": ["tom saw", "sue saw"], "continuation": "a dog.", "gold": 0}

{"context": "one two ", "continuation": " three"}
{"query": "q", "choices": ["same", "same"], "gold": 0}
{"query": "q", "choices": ["a", " "], "gold": 0}
END
    run --separate-stderr "$EVAL" import --format llm-foundry in.jsonl -o out.jsonl \
        --delimiter '\nAnswer: ' --json
    [ "$status" -eq 0 ] && [[ "$stderr" == *"in.jsonl:5"*"are the same"* ]]
    echo "$output" | query '(d["cases"], d["left_out"]) == (3, 2)'
    echo "$output" > out.json
    python3 "$ROOT/tests/lib/json_schema.py" "$ROOT/schemas/eval-import.schema.json" < out.json
    python3 - <<'END'
import json
head, *cases = [json.loads(line) for line in open("out.jsonl")]
assert head == {"slm_suite": 1, "name": "in"}, head
assert cases == [
    {"id": "line-00001", "kind": "choice", "prompt": "Question: why?\nAnswer:",
     "choices": [" because", " yes"], "answer": 1, "tags": ["c"]},
    {"id": "line-00002", "kind": "choice", "prompts": ["tom saw\nAnswer:", "sue saw\nAnswer:"],
     "continuation": " a dog.", "answer": 0},
    {"id": "line-00004", "kind": "cloze", "prompt": "one two\nAnswer:",
     "continuation": " three"}], cases
END
    while IFS= read -r line; do
        echo "$line" | python3 "$ROOT/tests/lib/json_schema.py" "$ROOT/schemas/suite.schema.json"
    done < out.jsonl
    run --separate-stderr "$EVAL" import --format llm-foundry in.jsonl -o out.jsonl
    [ "$status" -eq 2 ] && [[ "$stderr" == *"--force"* ]]
    run --separate-stderr "$EVAL" import --format csv in.jsonl -o x.jsonl
    [ "$status" -eq 2 ] && [[ "$stderr" == *"--format"* ]]
    echo '{"question": "q"}' > bad.jsonl
    run --separate-stderr "$EVAL" import --format llm-foundry bad.jsonl -o x.jsonl
    [ "$status" -eq 3 ] && [[ "$stderr" == *"bad.jsonl:1: neither"* ]] && [ ! -e x.jsonl ]
    run --separate-stderr "$EVAL" import --format llm-foundry absent -o x.jsonl
    [ "$status" -eq 4 ]
    run --separate-stderr "$EVAL" import --format llm-foundry in.jsonl -o in.jsonl --force
    [ "$status" -eq 2 ]
}

@test "choice accuracy on 100 items of ARC-easy, recomputed from logits by another script" {
    local data="$ROOT/${SLM_SHARED:-../shared}/evaldata/arc_easy.jsonl"
    [ -e "$data" ] || skip "needs shared/evaldata"
    local n=100
    [[ "$BIN" != *asan* ]] || n=8 # 400 processes would take minutes
    "$EVAL" import --format llm-foundry "$data" -o arc.jsonl --limit $n --delimiter '\nAnswer: '
    run "$EVAL" run base.slm arc.jsonl --db r.db --kv f32 --max-errors 50
    [ "$status" -eq 0 ]
    python3 "$ROOT/tests/cli/eval_choice.py" "$BIN/slm-run" "$BIN/slm-tokenizer" base.slm \
        arc.jsonl r.db
}
