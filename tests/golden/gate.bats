# The demo model, quantized, passes its own quality gate: what `make gate` does.

bats_require_minimum_version 1.5.0

@test "the demo model in 4 bits passes evals/gates/default.json" {
    run -0 scripts/gate.sh "$BATS_TEST_TMPDIR"
    [[ "$output" == *"tinystories-q4km.slm: passed; "* ]]
    [[ "$output" != *failed* && "$output" != *inconclusive* ]]
    python3 tests/lib/json_schema.py schemas/quality.schema.json \
        <"$BATS_TEST_TMPDIR/tinystories-q4km.slm.quality.json"
    python3 tests/lib/json_schema.py schemas/policy.schema.json <evals/gates/default.json
    # The README quotes this database. After a change: make gate, then
    # readme_queries.py build/gate/results.db --write
    python3 tests/golden/readme_queries.py "$BATS_TEST_TMPDIR/results.db"
    # The same evidence again: nothing is evaluated twice, and the manifest is the same but for
    # what is volatile.
    cp "$BATS_TEST_TMPDIR/tinystories-q4km.slm.quality.json" "$BATS_TEST_TMPDIR/first.json"
    run -0 scripts/gate.sh "$BATS_TEST_TMPDIR"
    grep -q ' 0 done now' "$BATS_TEST_TMPDIR/figures.txt"
    run ! grep -E ' [1-9][0-9]* done now' "$BATS_TEST_TMPDIR/figures.txt"
    run -0 diff <(grep manifest_sha256 "$BATS_TEST_TMPDIR/first.json") \
        <(grep manifest_sha256 "$BATS_TEST_TMPDIR/tinystories-q4km.slm.quality.json")
}
