# Outputs and the file system, through commands that users type; the same and more is provoked
# call by call in tests/unit/test_output.c. Numbers in brackets are malformed-input items.

bats_require_minimum_version 1.5.0

setup_file() {
    export CONVERT="${SLM_BIN:-bin}/slm-convert"
    export QUANTIZE="${SLM_BIN:-bin}/slm-quantize"
    export RUN="${SLM_BIN:-bin}/slm-run"
    export SOURCE="$PWD/evals/models/tinystories-2.6m"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    "$CONVERT" "$SOURCE" -o "$MODEL" --no-tokenizer -q
    CONVERT=$(realpath "$CONVERT") QUANTIZE=$(realpath "$QUANTIZE") RUN=$(realpath "$RUN")
}

setup() {
    mkdir "$BATS_TEST_TMPDIR/work" # bats keeps files of its own in the folder above
    cd "$BATS_TEST_TMPDIR/work"
    cp "$MODEL" model.slm
    sum=$(cksum < model.slm)
}

quantize() {
    run --separate-stderr "$QUANTIZE" model.slm "$@" --type Q8_0 -q
    echo "exit $status: $stderr"
}

nothing_else() { # FILES...: the folder holds these only, and the model is as it was
    local have want
    have=$(ls -A | LC_ALL=C sort | tr '\n' ' ')
    want=$(printf '%s\n' "$@" | LC_ALL=C sort | tr '\n' ' ')
    [ "$have" = "$want" ]
    [ "$(cksum < model.slm)" = "$sum" ]
}

@test "output is the input, by name and by links [FS13, FS14]" {
    mkdir d
    ln -s model.slm link.slm
    ln model.slm hard.slm
    for name in model.slm ./model.slm d/../model.slm link.slm hard.slm; do
        quantize "$name" --force
        [ "$status" -eq 2 ]
        [[ "$stderr" == *"is the input"* ]]
    done
    nothing_else d hard.slm link.slm model.slm
}

@test "output exists [FS15]" {
    echo old > out.slm
    quantize out.slm
    [ "$status" -eq 2 ] && [[ "$stderr" == *"--force"* ]]
    [ "$(cat out.slm)" = old ]
    quantize out.slm --force
    [ "$status" -eq 0 ]
    nothing_else model.slm out.slm
}

@test "output is a folder, or in none [FS16]" {
    mkdir d
    for name in d d/; do
        quantize "$name" --force
        [ "$status" -eq 2 ] && [[ "$stderr" == *"is a folder"* ]]
    done
    quantize absent/out.slm
    [ "$status" -eq 4 ] && [[ "$stderr" == *"folder does not exist"* ]]
    nothing_else d model.slm
}

@test "output through a link: the link's target is replaced [FS17]" {
    mkdir d
    echo old > d/target.slm
    ln -s d/target.slm out.slm
    quantize out.slm --force
    [ "$status" -eq 0 ] && [ -L out.slm ]
    [ "$(stat -c %s d/target.slm)" -gt 1000000 ]
    [ "$(ls -A d)" = target.slm ]
}

@test "output is a dangling link, a device, a pipe [FS18 - FS21]" {
    ln -s nowhere dangling
    ln -s /dev/full full
    mkfifo pipe
    for name in dangling full pipe /dev/full /dev/null; do
        quantize "$name" --force
        [ "$status" -eq 2 ]
    done
    [ -c /dev/null ] && [ -c /dev/full ]
    nothing_else dangling full model.slm pipe
}

@test "output in a folder without permission [FS22]" {
    [ "$(id -u)" -ne 0 ] || skip "root may write everywhere"
    mkdir locked
    chmod 555 locked
    quantize locked/out.slm
    [ "$status" -eq 4 ] && [[ "$stderr" == *"Permission denied"* ]]
}

@test "the file grows too large: an error, nothing left [FS23, FS24, FS25]" {
    for blocks in 1 700 2000; do
        run --separate-stderr bash -c \
            "ulimit -f $blocks; '$QUANTIZE' model.slm out.slm --type Q8_0 -q"
        echo "$blocks: exit $status: $stderr"
        [ "$status" -eq 4 ] && [[ "$stderr" == *"File too large"* ]]
        nothing_else model.slm
    done
}

@test "a planted temporary is not followed [FS28]" {
    echo safe > victim
    # exec keeps the process number, so the name is known beforehand
    run --separate-stderr bash -c \
        "ln -s victim .out.slm.tmp-\$\$; exec '$QUANTIZE' model.slm out.slm --type Q8_0 -q"
    [ "$status" -eq 0 ]
    [ "$(cat victim)" = safe ]
    [ -f out.slm ] && [ ! -L out.slm ]
}

@test "killed at any moment: the old file or the new one; the next run cleans up [FS29]" {
    quantize new.slm
    want=$(cksum < new.slm)
    rm new.slm
    echo old > out.slm
    for i in $(seq 25); do
        "$QUANTIZE" model.slm out.slm --type Q8_0 -q --force &
        sleep "$(printf '0.%03d' $((i * 6)))"
        kill -9 $! 2> /dev/null || true
        wait $! 2> /dev/null || true
        [ "$(cat out.slm)" = old ] || [ "$(cksum < out.slm)" = "$want" ]
    done 2> /dev/null
    quantize out.slm --force
    [ "$status" -eq 0 ]
    nothing_else model.slm out.slm
}

@test "signals remove the temporary file and are seen by the parent [FS30]" {
    python3 - "$QUANTIZE" <<'PY'
import glob, signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    hits = 0
    for attempt in range(50):
        command = [sys.argv[1], "model.slm", "out.slm", "--type", "Q4_K", "-q", "--force"]
        p = subprocess.Popen(command,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        while p.poll() is None and not glob.glob(".out.slm.tmp-*"):
            pass
        p.send_signal(number)
        code = p.wait()
        assert code in (0, -number), code
        assert not glob.glob(".out.slm.tmp-*"), (number, code)
        hits += code == -number
        if hits == 3:
            break
    assert hits == 3, (number, hits)
PY
    rm -f out.slm
    nothing_else model.slm
}

@test "stdout to a full device with --json [FS33]" {
    run --separate-stderr bash -c "'$QUANTIZE' model.slm out.slm --type Q8_0 --json > /dev/full"
    [ "$status" -eq 4 ]
}

@test "names with blanks, quotes, newlines and bytes that are not UTF-8 [FS02, FS03, FS04]" {
    long=$(printf 'x%.0s' $(seq 255))
    for name in 'a b.slm' $'q\'"$(x)*\\' $'tab\t' $'line\nbreak' $'\xff\xfe' "$long"; do
        quantize "./$name"
        [ "$status" -eq 0 ]
        [ -f "./$name" ]
    done
    run --separate-stderr "$RUN" $'no\e[31m\xff\nsuch'
    [ "$status" -eq 4 ]
    [[ "$stderr" == *"no?[31m??such"* ]]
    [ "${#stderr_lines[@]}" -eq 1 ]
}

@test "a name that begins with a dash, after -- [FS01]" {
    quantize -- -out.slm
    run --separate-stderr "$QUANTIZE" --type Q8_0 -q -- model.slm -out.slm
    [ "$status" -eq 0 ] && [ -f ./-out.slm ]
    quantize ''
    [ "$status" -eq 2 ]
}

@test "names that differ in case only are two files [FS56]" {
    touch probe
    [ ! -e PROBE ] || skip "this file system ignores case"
    rm probe
    quantize out.slm
    [ "$status" -eq 0 ]
    quantize OUT.slm
    [ "$status" -eq 0 ]
    nothing_else OUT.slm model.slm out.slm
}

@test "the mode follows the umask [FS42]" {
    chmod 400 model.slm
    (umask 077 && "$QUANTIZE" model.slm a.slm --type Q8_0 -q)
    (umask 022 && "$QUANTIZE" model.slm b.slm --type Q8_0 -q)
    [ "$(stat -c %a a.slm)" = 600 ] && [ "$(stat -c %a b.slm)" = 644 ]
}
