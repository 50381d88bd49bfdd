# Logits of small checkpoints against a separate implementation (tests/golden/families/README.md):
# make the checkpoint, convert, validate, run its ids, compare.

bats_require_minimum_version 1.5.0

# What slm-convert knows; it must refuse the others by name.
FAMILIES=(llama llama_bias mistral qwen2 qwen2_window qwen2_yarn gemma2 gemma3_text
    gemma3_text_scaled gpt2 phi3 phi3_longrope smollm3 smollm3_defaults olmo2
    granite starcoder2 stablelm)

setup_file() {
    export SLM_BIN="${SLM_BIN:-bin}"
}

check_family() { # NAME
    local at=$BATS_TEST_TMPDIR golden=tests/golden/families
    python3 "$golden/make_checkpoint.py" "$1" "$at/source"
    if [[ " ${FAMILIES[*]} " != *" $1 "* ]]; then
        run -3 "$SLM_BIN/slm-convert" "$at/source" -o "$at/model.slm"
        [[ "$output" == *"config.json: "*" not supported"* ]]
        return
    fi
    "$SLM_BIN/slm-convert" "$at/source" -o "$at/model.slm" -q
    "$SLM_BIN/slm-validate" "$at/model.slm"
    "$SLM_BIN/slm-run" "$at/model.slm" --kv f32 --ids "$at/source/tokens.i32" \
        --logits-out "$at/logits.f32"
    gzip -dc "$golden/$1.f32.gz" >"$at/want.f32"
    python3 tests/golden/compare_logits.py "$at/logits.f32" "$at/want.f32" 300 2e-4
    check_digests "$1"
}

# One digest for every kernel variant, whatever the threads and the chunk of the prompt, quantized.
# tests/golden/digests.bats tries more of their combinations on one model.
check_digests() { # NAME
    local at=$BATS_TEST_TMPDIR type want got kernels run threads chunk
    for type in Q8_0 Q4_K_M; do
        "$SLM_BIN/slm-quantize" "$at/model.slm" "$at/$type.slm" --type $type -q
        want=""
        for kernels in $("$SLM_BIN/slm-run" --help | sed -n 's/.*kernels here: *//p'); do
            for run in "1 64" "2 7"; do
                read -r threads chunk <<<"$run"
                got=$(digest "$type" "$kernels" "$threads" "$chunk")
                want=${want:-$(digest "$type" ref 1 1)}
                [[ "$got" =~ ^[0-9a-f]{16}$ ]]
                echo "$1 $type $kernels, threads $threads, chunk $chunk: $got, want $want"
                [ "$got" = "$want" ]
            done
        done
    done
}

digest() { # TYPE KERNELS THREADS CHUNK
    "$SLM_BIN/slm-run" "$BATS_TEST_TMPDIR/$1.slm" --ids "$BATS_TEST_TMPDIR/source/tokens.i32" \
        --logits-digest --kernels "$2" --threads "$3" --chunk "$4" | tail -n 1
}

@test "llama: q, k, v biases, linear rope scaling, head_dim of its own" { check_family llama; }
@test "llama_bias: a bias on every projection" { check_family llama_bias; }
@test "mistral: a window shorter than the text" { check_family mistral; }
@test "qwen2: q, k, v biases, tied" { check_family qwen2; }
@test "qwen2_window: a window from the third layer on" { check_family qwen2_window; }
@test "qwen2_yarn: frequencies blended by YaRN" { check_family qwen2_yarn; }
@test "gemma2: soft caps, windows on alternate layers, norms around blocks" { check_family gemma2; }
@test "gemma3_text: two rope bases, one global layer in three" { check_family gemma3_text; }
@test "gemma3_text_scaled: rope by kind of layer" { check_family gemma3_text_scaled; }
@test "gpt2: learned positions, LayerNorm, transposed matrices" { check_family gpt2; }
@test "phi3: fused projections, partial rope, window" { check_family phi3; }
@test "phi3_longrope: a divisor for each frequency" { check_family phi3_longrope; }
@test "smollm3: a layer without rope" { check_family smollm3; }
@test "smollm3_defaults: what the class assumes" { check_family smollm3_defaults; }
@test "olmo2: norms after blocks, q and k norms over the row" { check_family olmo2; }
@test "granite: four multipliers" { check_family granite; }
@test "starcoder2: LayerNorm and biases, no gate, window" { check_family starcoder2; }
@test "stablelm: LayerNorm, partial rope, q, k, v biases" { check_family stablelm; }
@test "stablelm_parallel: parallel blocks, q, k norms by head" { check_family stablelm_parallel; }

@test "every checkpoint has its logits and its test" {
    local name names
    names=$(python3 tests/golden/families/make_checkpoint.py --list)
    for name in $names; do
        [ "$(gzip -dc "tests/golden/families/$name.f32.gz" | wc -c)" -eq $((80 * 300 * 4)) ]
        grep -q "^@test .*check_family $name; }\$" "$BATS_TEST_FILENAME"
    done
    [ "$(wc -w <<<"$names")" -eq "$(find tests/golden/families -name '*.f32.gz' | wc -l)" ]
}
