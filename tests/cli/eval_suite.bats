# Suites of cases, well-formed and not: EV01 to EV34 of the malformed inputs. What checks make of a
# text, and patterns, are in tests/unit/test_eval_score.c.

bats_require_minimum_version 1.5.0

setup_file() {
    export EVAL="$PWD/${SLM_BIN:-bin}/slm-eval"
    [[ "${SLM_BIN:-bin}" = /* ]] && EVAL="$SLM_BIN/slm-eval"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    "${SLM_BIN:-bin}/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" -q
    export ROOT="$PWD"
    export HEAD='{"slm_suite": 1, "name": "try"}'
    export CLOZE='{"id": "a", "kind": "cloze", "prompt": "once upon a", "continuation": " time"}'
}

setup() {
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
}

suite() { # LINES..., each of which may be wrapped here
    printf '%s\n' "$HEAD" "${@//$'\n'/ }" > s.jsonl
}

go() { # ARGUMENTS...: runs s.jsonl on a new database
    run --separate-stderr "$EVAL" run "$MODEL" s.jsonl --db r.db "$@"
    echo "exit $status, stderr: $stderr, stdout: $output"
}

refused() { # TEXT: the suite is refused with this in the message, before anything is made of it
    rm -f r.db*
    go
    [ "$status" -eq 3 ] && [[ "$stderr" == *"$1"* ]] && [ -z "$output" ] && [ ! -e r.db ]
}

case_refused() { # TEXT JSON: a case of its own
    suite "$2"
    refused "$1"
}

ok() { # N_CASES
    go
    [ "$status" -eq 0 ] && [[ "$output" == *"$1 of $1 cases"* ]]
}

query() { # EXPRESSION about the document d on standard input
    python3 "$ROOT/tests/lib/json_query.py" "$(tr '\n' ' ' <<< "$1")"
}

result() { # COLUMN, of the only case
    sqlite3 r.db "SELECT $1 FROM results"
}

reads() { # JSON CONDITION: the case runs, and the condition holds of its row
    suite "$1"
    rm -f r.db*
    go
    [ "$status" -eq "${3:-0}" ]
    [ "$(sqlite3 r.db "SELECT $2 FROM results")" = 1 ]
}

@test "no suite, and suites without a case [EV01]" {
    run --separate-stderr "$EVAL" run "$MODEL" absent.jsonl --db r.db
    [ "$status" -eq 4 ] && [[ "$stderr" == *"absent.jsonl"* ]] && [ ! -e r.db ]
    : > s.jsonl && refused "holds no case"
    printf '\n\n \n' > s.jsonl && refused "holds no case"
    echo "$HEAD" > s.jsonl && refused "holds no case"
    echo "# a comment" > s.jsonl && refused "s.jsonl:1: column"
    mkdir d && run --separate-stderr "$EVAL" run "$MODEL" d --db r.db
    [ "$status" -eq 4 ]
}

@test "byte order mark, CRLF, no newline at the end are taken; UTF-16 and lone CR are not [EV02]" {
    printf '\xef\xbb\xbf%s\r\n\r\n%s' "$HEAD" "$CLOZE" > s.jsonl
    ok 1
    sum=$(sqlite3 r.db "SELECT sha256 FROM suites")
    suite "$CLOZE"
    rm r.db && ok 1
    [ "$(sqlite3 r.db "SELECT sha256 FROM suites")" = "$sum" ] # the same suite
    rm r.db
    iconv -f UTF-8 -t UTF-16LE s.jsonl > u && cp u s.jsonl && refused "UTF-16"
    printf '%s\r%s\r' "$HEAD" "$CLOZE" > s.jsonl && refused "s.jsonl:1: column"
}

@test "a line that is not JSON is named; so is a file cut off [EV03, EV04]" {
    suite "$CLOZE" "nonsense" "${CLOZE/\"a\"/\"b\"}" && refused "s.jsonl:3: column"
    printf '%s\n%s' "$HEAD" "${CLOZE:0:40}" > s.jsonl && refused "s.jsonl:2: column"
    [[ "$stderr" == *"cut off"* ]]
}

@test "lines of 100 MB and millions of lines are refused, soon [EV05]" {
    { echo "$HEAD"; printf '"'; head -c 100000000 /dev/zero | tr '\0' a; echo '"'; } > s.jsonl
    refused "the limit is"
    { echo "$HEAD"; yes '' | head -n 10000000; } > s.jsonl
    refused "holds no case"
}

@test "lines that are no object; keys that stand twice [EV06, EV07]" {
    for line in '3' '[]' '[1, 2]' 'null' '"text"' 'true'; do
        suite "$line" && refused "s.jsonl:2"
        printf '%s\n' "$line" > s.jsonl && refused "s.jsonl:1"
    done
    case_refused "uplicate" '{"id": "a", "id": "b", "kind": "tokenize", "text": "x"}'
}

@test "ids: missing, twice, empty, number, long, control characters; / and emoji are fine [EV08]" {
    case_refused "id must be" '{"kind": "tokenize", "text": "x"}'
    case_refused "id must be" '{"id": "", "kind": "tokenize", "text": "x"}'
    case_refused "id must be" '{"id": 7, "kind": "tokenize", "text": "x"}'
    case_refused "id must be" '{"id": null, "kind": "tokenize", "text": "x"}'
    case_refused "control" '{"id": "a\nb", "kind": "tokenize", "text": "x"}'
    case_refused "control" '{"id": "a\u0085b", "kind": "tokenize", "text": "x"}'
    case_refused "s.jsonl:2: column" '{"id": "a\u0000b", "kind": "tokenize", "text": "x"}'
    case_refused "the limit is 256" \
        '{"id": "'"$(head -c 10000 /dev/zero | tr '\0' a)"'", "kind": "tokenize", "text": "x"}'
    suite "$CLOZE" "${CLOZE/\"a\"/\"b\"}" "$CLOZE" && refused "s.jsonl:4: id \"a\" stands on line 2"
    suite '{"id": "a/b ../c 🦊", "kind": "tokenize", "text": "x"}' && ok 1
    [ "$(sqlite3 r.db "SELECT name FROM cases")" = "a/b ../c 🦊" ]
}

@test "ids that differ in case or Unicode form only are two, with a warning [EV09]" {
    suite "$CLOZE" "${CLOZE/\"a\"/\"A\"}" && ok 2
    [[ "$stderr" == *"line 2"*"only"* ]]
    rm r.db
    suite "${CLOZE/\"a\"/\"\\u00e9\"}" "${CLOZE/\"a\"/\"e\\u0301\"}" && ok 2
    [[ "$stderr" == *"only"* ]]
    rm r.db
    suite "$CLOZE" "${CLOZE/\"a\"/\"b\"}" && ok 2
    [ -z "$stderr" ]
}

@test "prompts: missing, empty, null, number, only spaces, 10 MB [EV10]" {
    local rest='"max_tokens": 2, "checks": [{"type": "regex", "value": "."}]'
    case_refused 'either "prompt" or "messages"' '{"id": "a", "kind": "generate", '"$rest}"
    case_refused "prompt must be" '{"id": "a", "kind": "generate", "prompt": "", '"$rest}"
    case_refused "null" '{"id": "a", "kind": "generate", "prompt": null, '"$rest}"
    case_refused "prompt must be" '{"id": "a", "kind": "generate", "prompt": 3, '"$rest}"
    reads '{"id": "a", "kind": "generate", "prompt": "   ", '"$rest}" "status = 'ok'"
    suite '{"id": "a", "kind": "generate", "prompt": "'"$(head -c 10000000 /dev/zero |
        tr '\0' a)"'", '"$rest}"
    rm -f r.db* && go
    [ "$status" -eq 3 ] && [[ "$(result error)" == *"exceed the context"* ]]
}

@test "special tokens in a text are plain text [EV11]" {
    reads '{"id": "a", "kind": "tokenize", "text": "x<|endoftext|>y<|im_end|>"}' \
        "passed = 1 AND json_extract(detail, '\$.n_ids') > 10"
}

@test "lone surrogates are refused [EV12]" {
    case_refused "s.jsonl:2: column" '{"id": "a", "kind": "tokenize", "text": "x\ud800y"}'
    printf '%s\n{"id": "a", "kind": "tokenize", "text": "\xff"}\n' "$HEAD" > s.jsonl
    refused "s.jsonl:2: column"
}

@test "nothing expected [EV13]" {
    local rest='"prompt": "x", "max_tokens": 2'
    case_refused "checks" '{"id": "a", "kind": "generate", '"$rest}"
    case_refused "checks" '{"id": "a", "kind": "generate", "checks": [], '"$rest}"
    case_refused "value must be" \
        '{"id": "a", "kind": "generate", "checks": [{"type": "contains", "value": ""}], '"$rest}"
}

@test "kinds and checks that do not exist, the same check twice [EV14, EV26]" {
    local rest='"prompt": "x", "max_tokens": 2'
    case_refused "kind must be one of" '{"id": "a", "kind": "choise", '"$rest}"
    case_refused "kind must be one of" '{"id": "a", '"$rest}"
    case_refused 'no check is called "exec"' \
        '{"id": "a", "kind": "generate", "checks": [{"type": "exec", "value": "ls"}], '"$rest}"
    case_refused "are the same" '{"id": "a", "kind": "generate", '"$rest"',
        "checks": [{"type": "json"}, {"type": "json"}]}'
}

@test "a pattern is compiled when the suite is read [EV15]" {
    case_refused "regex, byte 2: this ( is never closed" '{"id": "a", "kind": "generate",
        "prompt": "x", "max_tokens": 2, "checks": [{"type": "regex", "value": "a("}]}'
}

@test "choices: none, one, the same, an answer that is none of them [EV17]" {
    local p='{"id": "a", "kind": "choice", "prompt": "x", "answer": 0, "choices":'
    case_refused "2 to 64" "$p []}"
    case_refused "2 to 64" "$p [\"a\"]}"
    case_refused "2 to 64" "$p \"ab\"}"
    case_refused "not empty" "$p [\"a\", \"\"]}"
    case_refused "not empty" "$p [\"a\", 3]}"
    case_refused "are the same" "$p [\"a\", \"b\", \"a\"]}"
    case_refused 'either "choices" or "prompts"' '{"id": "a", "kind": "choice", "answer": 0}'
    for answer in -1 2 '"A"' 0.5 null; do
        suite '{"id": "a", "kind": "choice", "prompt": "x", "choices": ["a", "b"],
            "answer": '"$answer}"
        refused "answer"
    done
    case_refused "answer" '{"id": "a", "kind": "choice", "prompt": "x", "choices": ["a", "b"]}'
    case_refused "does not go with" '{"id": "a", "kind": "choice", "prompt": "x",
        "prompts": ["a", "b"], "continuation": "c", "answer": 0}'
    case_refused "normalize" '{"id": "a", "kind": "choice", "prompt": "x", "choices": ["a", "b"],
        "answer": 0, "normalize": "char"}'
}

@test "messages: roles and their order; a model without chat turns [EV19]" {
    local a='{"id": "a", "kind": "generate", "max_tokens": 2, "checks": [{"type": "json"}],
        "messages":'
    local user='{"role": "user", "content": "x"}' bot='{"role": "assistant", "content": "x"}'
    local system='{"role": "system", "content": "x"}'
    case_refused "1 to 1000" "$a []}"
    case_refused "role" "$a [{\"content\": \"x\"}]}"
    case_refused 'no role is called "tool"' "$a [{\"role\": \"tool\", \"content\": \"x\"}]}"
    case_refused "must be {" "$a [{\"role\": \"user\", \"content\": 3}]}"
    case_refused "must be {" "$a [{\"role\": \"user\", \"content\": \"x\", \"image\": \"y\"}]}"
    case_refused "in turn" "$a [$bot, $user]}"
    case_refused "in turn" "$a [$user, $system, $user]}"
    case_refused "in turn" "$a [$user, $user]}"
    case_refused "must be the user's" "$a [$user, $bot]}"
    case_refused "must be the user's" "$a [$system]}"
    suite "$a [$system, $user, $bot, $user]}" && go
    [ "$status" -eq 3 ] && [[ "$(result error)" == *"chat"* ]]
}

@test "max_tokens out of range; prompt and answer beyond the context [EV20, EV21]" {
    for n in 0 -1 99999999999999 1.5 '"7"'; do
        case_refused "max_tokens" '{"id": "a", "kind": "generate", "prompt": "x",
            "max_tokens": '"$n"', "checks": [{"type": "json"}]}'
    done
    case_refused "max_tokens" '{"id": "a", "kind": "generate", "prompt": "x",
        "checks": [{"type": "json"}]}'
    suite "$CLOZE" '{"id": "long", "kind": "generate", "prompt": "x", "max_tokens": 300,
        "checks": [{"type": "json"}]}'
    go --json
    [ "$status" -eq 1 ] # counted, not dropped
    echo "$output" | query '
        [d["runs"][0][k] for k in ("errors", "done")] == [1, 2] and
        d["runs"][0]["not_evaluated"][0]["case"] == "long" and
        [m["value"] for m in d["runs"][0]["metrics"] if m["name"] == "generate.passed"] == [0]'
    go --max-errors 1
    [ "$status" -eq 0 ]
}

@test "sampling without a seed cannot be repeated [EV22]" {
    local a='{"id": "a", "kind": "generate", "prompt": "x", "max_tokens": 2,
        "checks": [{"type": "regex", "value": "."}]'
    case_refused "seed" "$a, \"temperature\": 0.5}"
    case_refused "seed" "$a, \"temperature\": 0.5, \"seed\": -1}"
    case_refused "temperature" "$a, \"temperature\": -0.5, \"seed\": 1}"
    case_refused "top_k" "$a, \"top_k\": 5000}"
    case_refused "top_p" "$a, \"top_p\": 1.5}"
    case_refused "min_p" "$a, \"min_p\": \"x\"}"
    reads "$a, \"temperature\": 0.5, \"seed\": 9007199254740993}" "status = 'ok'"
}

@test "stop strings: empty, thousands [EV23]" {
    local a='{"id": "a", "kind": "generate", "prompt": "x", "max_tokens": 2,
        "checks": [{"type": "json"}], "stop":'
    case_refused "not empty" "$a [\"\"]}"
    case_refused "1 to 16" "$a []}"
    case_refused "1 to 16" "$a \"x\"}"
    case_refused "1 to 16" "$a [$(printf '"s%d",' $(seq 10000))\"x\"]}"
}

@test "files: missing, outside, links, folders, URLs, empty [EV24, EV32]" {
    mkdir sub
    echo "once upon a time there was a cat." > sub/t.txt
    echo "secret" > ../secret.txt
    ln -s ../secret.txt link.txt
    ln -s sub linked
    : > empty.txt
    for file in absent.txt sub/absent.txt ../secret.txt sub/../../secret.txt /etc/passwd link.txt \
        linked/t.txt sub sub/ ./sub/t.txt sub//t.txt https://example.org/t.txt file:sub/t.txt \
        empty.txt . ..; do
        suite '{"id": "a", "kind": "perplexity", "file": "'"$file"'", "window": 8, "stride": 4}'
        go
        [ "$status" -ge 3 ] && [ "$status" -le 4 ] && [ ! -e r.db ]
        [[ "$stderr" == *"s.jsonl:2"* ]]
    done
    reads '{"id": "a", "kind": "perplexity", "file": "sub/t.txt", "window": 8, "stride": 4}' \
        "status = 'ok'"
    echo "once upon a time there was a dog." > sub/t.txt
    go
    [ "$status" -eq 0 ] && [ "$(sqlite3 r.db "SELECT count(*) FROM suites")" = 2 ]
    case_refused 'either "text" or "file"' '{"id": "a", "kind": "perplexity", "window": 8,
        "stride": 4}'
}

@test "keys that nothing knows are refused by name [EV25, EV27, EV28, EV30, EV32]" {
    for key in weight schema few_shot include template image tags_ Prompt; do
        case_refused "no key \"$key\"" '{"id": "a", "kind": "tokenize", "text": "x", "'"$key"'": 1}'
    done
    reads '{"id": "a", "kind": "tokenize", "text": "{{name}} {{ {% include x %}"}' "passed = 1"
    case_refused "tags" '{"id": "a", "kind": "tokenize", "text": "x", "tags": "x"}'
    case_refused "tags" '{"id": "a", "kind": "tokenize", "text": "x", "tags": [""]}'
    case_refused "are the same" '{"id": "a", "kind": "tokenize", "text": "x", "tags": ["y", "y"]}'
}

@test "one prompt with two expectations is a warning [EV29]" {
    suite "$CLOZE" '{"id": "b", "kind": "cloze", "prompt": "once upon a", "continuation": " day"}'
    ok 2
    [[ "$stderr" == *"s.jsonl:3"*"asks what line 2 asks"* ]]
}

@test "the version of the format: missing, future, none [EV31]" {
    echo "$CLOZE" > s.jsonl && refused "the first line must describe the suite"
    HEAD='{"slm_suite": 2, "name": "x"}' suite "$CLOZE" && refused "reads version 1"
    HEAD='{"slm_suite": "1", "name": "x"}' suite "$CLOZE" && refused "the first line"
    HEAD='{"slm_suite": 1}' suite "$CLOZE" && refused "name"
    HEAD='{"slm_suite": 1, "name": ""}' suite "$CLOZE" && refused "name"
    HEAD='{"slm_suite": 1, "name": "x", "gate": 1}' suite "$CLOZE" && refused "no key"
    HEAD='{"slm_suite": 1, "name": "x", "description": 3}' suite "$CLOZE" && refused "description"
}

@test "YAML and CSV are not taken for suites [EV33, EV34]" {
    printf 'slm_suite: 1\nname: x\ncases:\n  - &a [*a, *a]\n' > s.jsonl && refused "s.jsonl:1"
    printf 'id,kind,prompt\n"a,cloze,"x\n' > s.jsonl && refused "s.jsonl:1"
}

@test "windows: stride and window must fit each other, the model, the text [EV59]" {
    local a='{"id": "a", "kind": "perplexity", "text": "once upon a time there was"'
    case_refused "window" "$a, \"stride\": 2}"
    case_refused "stride" "$a, \"window\": 8}"
    case_refused "stride" "$a, \"window\": 8, \"stride\": 8}"
    case_refused "window" "$a, \"window\": 1, \"stride\": 1}"
    reads "$a, \"window\": 1000, \"stride\": 8}" "error LIKE '%exceeds the context of 256'" 3
    reads "$a, \"window\": 256, \"stride\": 8}" "status = 'ok'" # far longer than the text
    for text in x xy; do # one and two tokens
        rm -f r.db*
        suite '{"id": "a", "kind": "perplexity", "text": "'"$text"'", "window": 8, "stride": 4}'
        go
        if [ "$text" = x ]; then
            [ "$status" -eq 3 ] && [[ "$(result error)" == *"nothing to predict"* ]]
        fi
    done
    case_refused "text must be" '{"id": "a", "kind": "perplexity", "text": "", "window": 8,
        "stride": 4}'
}

@test "two suites of one name, and the same suite twice" {
    suite "$CLOZE"
    cp s.jsonl t.jsonl
    run --separate-stderr "$EVAL" run "$MODEL" s.jsonl t.jsonl --db r.db
    [ "$status" -eq 3 ] && [[ "$stderr" == *'both suites are called "try"'* ]]
}

@test "the project's own suites are what their schema says, and hold 60 cases and more" {
    cd "$ROOT"
    local n=0
    for file in evals/suites/*.jsonl; do
        while IFS= read -r line; do
            echo "$line" | python3 tests/lib/json_schema.py schemas/suite.schema.json
            n=$((n + 1))
        done < "$file"
    done
    [ "$n" -ge 64 ]
}
