# slm-eval perplexity against figures computed elsewhere: from another engine's logits, and by a
# script that cuts the windows itself. Agreement to 1e-5 nats.

bats_require_minimum_version 1.5.0

setup_file() {
    export SLM_BIN="${SLM_BIN:-bin}"
    export SLM_SHARED="${SLM_SHARED:-../shared}"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    "$SLM_BIN/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" --no-tokenizer -q
    # 300 ids that wander over the vocabulary of 1024
    export IDS="$BATS_FILE_TMPDIR/ids.i32"
    python3 -c '
import struct, sys
x = 7
for i in range(300):
    x = (x * 1103515245 + 12345) % 2**31
    sys.stdout.buffer.write(struct.pack("<i", x // 65536 % 1024))' > "$IDS"
}

measure() { # OPTIONS... -> "nll scored windows"
    "$SLM_BIN/slm-eval" perplexity --ids --kv f32 --json "$@" |
        python3 -c 'import json, sys
d = json.load(sys.stdin)
print(d["nll"], d["scored"], d["windows"])'
}

same() { # "nll scored windows" twice
    echo "got $1, want $2"
    python3 -c '
import sys
got, want = sys.argv[1].split(), sys.argv[2].split()
sys.exit(got[1:] != want[1:] or not abs(float(got[0]) - float(want[0])) < 1e-5)' "$1" "$2"
}

check_peer() { # FOLDER N_VOCAB
    [ -d "$SLM_SHARED/$1" ] || skip "needs shared/$1"
    "$SLM_BIN/slm-convert" "$SLM_SHARED/$1" -o "$BATS_TEST_TMPDIR/m.slm" --no-tokenizer -q
    same "$(measure "$BATS_TEST_TMPDIR/m.slm" "$SLM_SHARED/$1/tokens.i32" --window 256)" \
        "$(python3 tests/golden/perplexity.py logits "$SLM_SHARED/$1/logits.f32" \
            "$SLM_SHARED/$1/tokens.i32" "$2")"
}

check_windows() { # WINDOW STRIDE
    same "$(measure "$MODEL" "$IDS" --window "$1" --stride "$2")" \
        "$(python3 tests/golden/perplexity.py windows "$SLM_BIN/slm-run" "$MODEL" "$IDS" \
            1024 "$1" "$2")"
}

@test "one window, another engine's logits: TinyStories-656K" {
    check_peer models/TinyStories-656K 2048
}
@test "one window, another engine's logits: tinystories-2.6m" {
    check_peer models/tinystories-2.6m 1024
}
@test "windows of 256, stride 128" { check_windows 256 128; }
@test "windows of 64, stride 63: one token of context" { check_windows 64 63; }
@test "windows of 50, stride 17" { check_windows 50 17; }

@test "the rows written are those that were scored" {
    "$SLM_BIN/slm-eval" perplexity "$MODEL" "$IDS" --ids --kv f32 -w 100 -s 50 \
        --logits-out "$BATS_TEST_TMPDIR/rows"
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/rows")" -eq $((299 * 1024 * 4)) ]
    # the last row of a file that "logits" reads is not used, so one is appended
    head -c 4096 "$BATS_TEST_TMPDIR/rows" >> "$BATS_TEST_TMPDIR/rows"
    got=$(python3 tests/golden/perplexity.py logits "$BATS_TEST_TMPDIR/rows" "$IDS" 1024)
    same "$(measure "$MODEL" "$IDS" -w 100 -s 50 | sed 's/ [0-9]*$/ 1/')" "$got"
}

@test "the figures do not depend on threads or kernels" {
    want=$("$SLM_BIN/slm-eval" perplexity "$MODEL" "$IDS" --ids --threads 1 --kernels ref)
    for kernels in $("$SLM_BIN/slm-run" --help | sed -n 's/.*kernels here: *//p'); do
        [ "$("$SLM_BIN/slm-eval" perplexity "$MODEL" "$IDS" --ids --threads 2 \
            --kernels "$kernels")" = "$want" ]
    done
}
