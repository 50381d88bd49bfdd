# kill -9 at random moments of slm-eval run, and other ends that nobody planned.

bats_require_minimum_version 1.5.0

setup_file() {
    export BIN="$PWD/${SLM_BIN:-bin}" ROOT="$PWD"
    [[ "${SLM_BIN:-bin}" = /* ]] && BIN="$SLM_BIN"
    export EVAL="$BIN/slm-eval"
    export BASE="$BATS_FILE_TMPDIR/base.slm" MODEL="$BATS_FILE_TMPDIR/model.slm"
    "$BIN/slm-convert" evals/models/tinystories-2.6m -o "$BASE" -q
    "$BIN/slm-quantize" "$BASE" "$MODEL" --type Q4_0 -q
}

setup() {
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
}

@test "10 kills: no result lost or done twice, the same figures [EV49, DB13, DB14, DB19]" {
    local n=100
    [[ "$BIN" != *asan* ]] || n=30
    run python3 "$ROOT/tests/cli/eval_kill.py" "$EVAL" "$MODEL" "$BASE" 10 "$RANDOM" "$n"
    echo "$output"
    [ "$status" -eq 0 ]
}

@test "SIGINT and SIGTERM end a run between two results, and it goes on [EV49]" {
    # far more than is done before the signal comes, however busy the machine
    { echo '{"slm_suite": 1, "name": "long"}'
      seq 50000 |
          sed 's/.*/{"id": "c&", "kind": "cloze", "prompt": "& dogs", "continuation": " ran"}/'
    } > s.jsonl
    for signal in INT TERM; do
        # a shell has its background children ignore SIGINT, and perhaps all of this runs in one
        python3 - "$EVAL" "$MODEL" "$signal" <<'END'
import signal, sqlite3, subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "run", sys.argv[2], "s.jsonl", "--db", "r.db"],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
for _ in range(1000):
    time.sleep(0.02)
    try:
        if sqlite3.connect("r.db").execute("SELECT count(*) FROM results").fetchone()[0] > 20:
            break
    except sqlite3.OperationalError:
        pass
p.send_signal(getattr(signal, "SIG" + sys.argv[3]))
assert p.wait() != 0
END
        [ "$(sqlite3 r.db 'PRAGMA integrity_check')" = ok ]
        before=$(sqlite3 r.db 'SELECT count(*) FROM results')
        [ "$before" -gt 20 ] && [ "$before" -lt 50000 ]
        [ "$(sqlite3 r.db 'SELECT status FROM runs')" = open ]
    done
}
