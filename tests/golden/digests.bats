# One digest of logits for every kernel variant, thread count and prefill chunk, for every type.

bats_require_minimum_version 1.5.0

setup_file() {
    export SLM_BIN="${SLM_BIN:-bin}"
    export MODEL="$BATS_FILE_TMPDIR/model.slm"
    "$SLM_BIN/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" -q
    export PROMPT="once upon a time there was a little girl named lily. she had a red ball and a
small dog. every day they went to the park to play in the sun. one day the dog found a big box
under a tree, and lily said, what can be in this box? she was very happy and opened it slowly."
}

digest() { # FILE OPTIONS...
    local file=$1
    shift
    "$SLM_BIN/slm-run" "$file" -p "$PROMPT" --temp 0 --max-tokens 4 --logits-digest "$@" | tail -n 1
}

variants() {
    "$SLM_BIN/slm-run" --help | sed -n 's/.*kernels here: *//p'
}

check_type() { # TYPE [CONVERT_DTYPE]
    local file="$BATS_TEST_TMPDIR/$1.slm"
    if [ -n "$2" ]; then
        "$SLM_BIN/slm-convert" evals/models/tinystories-2.6m -o "$file" --dtype "$2" -q
    else
        "$SLM_BIN/slm-quantize" "$MODEL" "$file" --type "$1" -q
    fi
    local want got kernels threads chunk
    want=$(digest "$file" --kernels ref --threads 1 --chunk 1)
    [[ "$want" =~ ^[0-9a-f]{16}$ ]]
    for kernels in $(variants); do
        for threads in 1 2; do
            for chunk in 1 7 64 256; do
                got=$(digest "$file" --kernels "$kernels" --threads $threads --chunk $chunk)
                echo "$1 $kernels, threads $threads, chunk $chunk: $got, want $want"
                [ "$got" = "$want" ]
            done
        done
    done
}

@test "F32" { check_type F32 f32; }
@test "F16" { check_type F16 f16; }
@test "BF16" { check_type BF16 bf16; }
@test "Q8_0" { check_type Q8_0; }
@test "Q4_0" { check_type Q4_0; }
@test "Q4_K" { check_type Q4_K; }
@test "Q5_K" { check_type Q5_K; }
@test "Q6_K" { check_type Q6_K; }
@test "Q4_K_M" { check_type Q4_K_M; }
@test "Q5_K_M" { check_type Q5_K_M; }
