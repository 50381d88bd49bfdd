# slm-convert with GGUF: from it, back to it, and what is wrong with it.

bats_require_minimum_version 1.5.0

setup_file() {
    export SLM_BIN="${SLM_BIN:-bin}"
    export SLM_SHARED="${SLM_SHARED:-../shared}"
}

setup() {
    at=$BATS_TEST_TMPDIR
}

make_case() { # CASE
    python3 tests/cli/gguf_cases.py "$1" "$at/m.gguf"
}

check_logits() { # MODEL.gguf FOLDER N_VOCAB LIMIT
    [ -d "$SLM_SHARED/$2" ] || skip "needs shared/$2"
    "$SLM_BIN/slm-convert" "$SLM_SHARED/$2/$1" -o "$at/m.slm" -q
    "$SLM_BIN/slm-validate" "$at/m.slm"
    "$SLM_BIN/slm-run" "$at/m.slm" --kv f32 --ids "$SLM_SHARED/$2/tokens.i32" \
        --logits-out "$at/logits.f32"
    python3 tests/golden/compare_logits.py "$at/logits.f32" "$SLM_SHARED/$2/logits.f32" "$3" "$4"
}

round_trip() { # MODEL.gguf
    "$SLM_BIN/slm-convert" "$1" -o "$at/a.slm" -q
    "$SLM_BIN/slm-validate" "$at/a.slm"
    "$SLM_BIN/slm-convert" "$at/a.slm" --to gguf -o "$at/b.gguf" -q
    python3 tests/golden/compare_gguf.py "$1" "$at/b.gguf"
    "$SLM_BIN/slm-convert" "$at/b.gguf" -o "$at/c.slm" -q
    local name
    for name in a c; do
        "$SLM_BIN/slm-validate" "$at/$name.slm" | grep checksums >"$at/$name.txt"
    done
    cmp "$at/a.txt" "$at/c.txt"
}

@test "llama: logits" { check_logits model-f32.gguf conformance/llama 512 2e-4; }
@test "qwen3: logits" { check_logits model-f32.gguf conformance/qwen3 512 2e-4; }
@test "gemma3: logits" { check_logits model-f32.gguf conformance/gemma3 512 5e-3; }
@test "gpt2: logits" { check_logits model-f32.gguf conformance/gpt2 512 5e-3; }
@test "stories260K: logits" { check_logits stories260K.gguf models/stories260K 512 2e-4; }

@test "Q8_0 made by llama.cpp: blocks kept, rows of q and k in our order" {
    local folder="$SLM_SHARED/models/TinyStories-656K"
    [ -d "$folder" ] || skip "needs shared/models/TinyStories-656K"
    "$SLM_BIN/slm-convert" "$folder/TinyStories-656K-Q8_0.gguf" -o "$at/m.slm" -q
    python3 tests/golden/compare_q8.py "$at/m.slm" "$folder/TinyStories-656K-Q8_0.gguf" 8 4
}

@test "Q8_0 made by llama.cpp equals the safetensors quantized here" {
    local folder="$SLM_SHARED/models/TinyStories-656K"
    [ -d "$folder" ] || skip "needs shared/models/TinyStories-656K"
    "$SLM_BIN/slm-convert" "$folder/TinyStories-656K-Q8_0.gguf" -o "$at/m.slm" -q
    "$SLM_BIN/slm-convert" "$folder" -o "$at/f.slm" -q
    "$SLM_BIN/slm-quantize" "$at/f.slm" "$at/q.slm" --type Q8_0 -q
    local name
    for name in m q; do
        "$SLM_BIN/slm-validate" "$at/$name.slm" | grep -o 'content [0-9a-f]*' >"$at/$name.txt"
    done
    cmp "$at/m.txt" "$at/q.txt"
}

@test "there and back: shared models" {
    [ -d "$SLM_SHARED/conformance" ] || skip "needs shared/conformance"
    local m
    for m in "$SLM_SHARED"/conformance/*/model-f32.gguf "$SLM_SHARED"/models/*/*.gguf; do
        round_trip "$m"
        rm "$at"/*.slm "$at"/*.gguf
    done
}

@test "there and back: every lossless type" {
    local type
    for type in f32 f16 bf16 q8_0 q4_0 q4_k q5_k q6_k; do
        make_case "$type"
        round_trip "$at/m.gguf"
        "$SLM_BIN/slm-validate" "$at/a.slm" | grep -qi "$type "
        rm "$at"/*.slm "$at/b.gguf"
    done
}

@test "GG65: --dtype f32 decodes blocks: the same logits" {
    make_case q4_k
    "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/f.slm" --dtype f32 -q
    "$SLM_BIN/slm-validate" "$at/f.slm" | grep -q 'F32 '
    run -3 "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/g.slm" --dtype f16
    [[ "$output" == *"already quantized (Q4_K)"* ]]
}

@test "GG20, GG43 - GG70: what is wrong is refused by name" {
    local name fragment n=0
    while IFS=$'\t' read -r name fragment; do
        make_case "$name"
        run -3 "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm"
        [[ "$output" == *"$fragment"* ]] || { echo "$name: $output"; false; }
        [ ! -e "$at/m.slm" ]
        n=$((n + 1))
    done < <(python3 tests/cli/gguf_cases.py --list -)
    [ "$n" -gt 80 ]
}

@test "GG56, GG58, GG61, GG62, GG64: what is legal is converted, and said" {
    local name fragment
    while IFS=$'\t' read -r name fragment; do
        make_case "$name"
        run -0 timeout 60 "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm" --force
        [[ "$output" == *"$fragment"* ]] || { echo "$name: $output"; false; }
        "$SLM_BIN/slm-validate" "$at/m.slm"
    done < <(python3 tests/cli/gguf_cases.py --accepted -)
}

@test "rope scalings: yarn, divisors of any kind, longrope to its original context" {
    local name
    for name in rope-yarn rope-freqs rope-factors; do
        make_case "$name"
        "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/$name.slm" -q
        "$SLM_BIN/slm-convert" --inspect "$at/$name.slm" --json >"$at/$name.json"
        grep -q '"rope_scaling": *"divisors"' "$at/$name.json"
    done
    grep -q '"rope_magnitude": *1.138629' "$at/rope-yarn.json" # 1 + 0.1 ln 4
    grep -q '"rope_magnitude": *1.25' "$at/rope-factors.json"
    grep -q '"n_context": *64' "$at/rope-factors.json"
    "$SLM_BIN/slm-convert" "$at/rope-freqs.slm" --to gguf -o "$at/b.gguf" -q
    make_case rope-freqs
    python3 tests/golden/compare_gguf.py "$at/m.gguf" "$at/b.gguf"
    run -3 "$SLM_BIN/slm-convert" "$at/rope-yarn.slm" --to gguf -o "$at/no.gguf"
    [[ "$output" == *"there is no GGUF for it"* ]]
}

@test "a folder's model as GGUF and back: the same digest" {
    local name file
    [ -d "$SLM_SHARED/conformance" ] || skip "needs shared/conformance"
    for name in llama llama3 qwen2 qwen3 gemma3 gpt2; do
        "$SLM_BIN/slm-convert" "$SLM_SHARED/conformance/$name" -o "$at/a.slm" --force -q
        "$SLM_BIN/slm-convert" "$at/a.slm" --to gguf -o "$at/b.gguf" --force -q
        "$SLM_BIN/slm-convert" "$at/b.gguf" -o "$at/c.slm" --force -q
        for file in a c; do
            "$SLM_BIN/slm-run" "$at/$file.slm" --ids "$SLM_SHARED/conformance/$name/tokens.i32" \
                --logits-digest -q | tail -n 1 >"$at/$file.digest"
        done
        cmp "$at/a.digest" "$at/c.digest" || { echo "$name"; false; }
    done
}

@test "GG72: a million tensors without elements, a hundred thousand with one" {
    python3 tests/cli/gguf_cases.py many "$at/m.gguf" 1000000 0
    run -3 timeout 20 "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm"
    [[ "$output" == *"zero or out of range"* ]]
    python3 tests/cli/gguf_cases.py many "$at/m.gguf" 100000 1
    run -3 timeout 20 "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm"
    [ ! -e "$at/m.slm" ]
}

@test "wrong tokenizers do not matter with --no-tokenizer" {
    make_case GG59-tokenizer-unknown
    "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm" --no-tokenizer -q
    "$SLM_BIN/slm-validate" "$at/m.slm"
}

@test "GG68: split files: any part opens all" {
    python3 tests/cli/gguf_cases.py split-good "$at/"
    "$SLM_BIN/slm-convert" "$at/whole.gguf" -o "$at/whole.slm" -q
    "$SLM_BIN/slm-convert" "$at/m-00001-of-00003.gguf" -o "$at/first.slm" -q
    "$SLM_BIN/slm-convert" "$at/m-00003-of-00003.gguf" -o "$at/last.slm" -q
    cmp "$at/first.slm" "$at/last.slm"
    "$SLM_BIN/slm-validate" "$at/whole.slm" | grep checksums >"$at/whole.txt"
    "$SLM_BIN/slm-validate" "$at/first.slm" | grep checksums >"$at/first.txt"
    cmp "$at/whole.txt" "$at/first.txt"
    cp "$at/m-00002-of-00003.gguf" "$at/alone.gguf"
    run -3 "$SLM_BIN/slm-convert" "$at/alone.gguf" -o "$at/no.slm"
    [[ "$output" == *"one of 3 parts"* ]]
    cp "$at/m-00002-of-00003.gguf" "$at/m-00003-of-00003.gguf"
    run -3 "$SLM_BIN/slm-convert" "$at/m-00001-of-00003.gguf" -o "$at/no.slm"
    [[ "$output" == *"split.no"* ]]
}

@test "GG68: split files: a part missing, numbers and counts that contradict" {
    python3 tests/cli/gguf_cases.py split-missing "$at/"
    run -4 "$SLM_BIN/slm-convert" "$at/m-00001-of-00003.gguf" -o "$at/no.slm"
    [[ "$output" == *"m-00002-of-00003.gguf"* ]]
    python3 tests/cli/gguf_cases.py split-number "$at/"
    run -3 "$SLM_BIN/slm-convert" "$at/m-00001-of-00003.gguf" -o "$at/no.slm"
    [[ "$output" == *"split.no"* ]]
    python3 tests/cli/gguf_cases.py split-count "$at/"
    run -3 "$SLM_BIN/slm-convert" "$at/m-00001-of-00003.gguf" -o "$at/no.slm"
    [[ "$output" == *"split.tensors.count"* ]]
}

@test "GG01, GG21, GG71: byte order, truncation, nothing" {
    make_case q8_0
    { printf FUGG; tail -c +5 "$at/m.gguf"; } >"$at/big.gguf"
    run -3 "$SLM_BIN/slm-convert" "$at/big.gguf" -o "$at/no.slm"
    [[ "$output" == *"big-endian"* ]]
    head -c 100000 "$at/m.gguf" >"$at/short.gguf"
    run -3 "$SLM_BIN/slm-convert" "$at/short.gguf" -o "$at/no.slm"
    printf GGUF >"$at/four.gguf"
    run -3 "$SLM_BIN/slm-convert" "$at/four.gguf" -o "$at/no.slm"
    [ ! -e "$at/no.slm" ]
}

@test "there and back, and as tokenizer.json: pre-tokenizers that are compiled" {
    local text="They're the 2024 others: \$3,14; naïve THE end...  l'été 世界 a\n\n  b" name
    for name in gpt-2 deepseek-llm deepseek-v3 falcon gpt-4o tekken bloom viking qwen35 hunyuan \
        default chameleon exaone-moe laguna spark2_5 ufakzeka youtu; do
        make_case "pre-$name"
        "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/a.slm" --force -q
        "$SLM_BIN/slm-convert" "$at/a.slm" --to gguf -o "$at/b.gguf" --force -q
        grep -aqF "$name" "$at/b.gguf" || { echo "$name"; false; }
        "$SLM_BIN/slm-tokenizer" export "$at/a.slm" -o "$at/t.json" --force -q
        echo "$text" | "$SLM_BIN/slm-tokenizer" encode "$at/m.gguf" >"$at/ids"
        [ -s "$at/ids" ]
        for form in a.slm b.gguf t.json; do
            echo "$text" | "$SLM_BIN/slm-tokenizer" encode "$at/$form" -q | cmp - "$at/ids"
        done
    done
}

@test "--to gguf: what llama.cpp makes of it otherwise is said" {
    local name said
    while read -r name said; do
        python3 tests/golden/families/make_checkpoint.py "$name" "$at/$name"
        "$SLM_BIN/slm-convert" "$at/$name" -o "$at/$name.slm" -q
        run -0 "$SLM_BIN/slm-convert" "$at/$name.slm" --to gguf -o "$at/$name.gguf"
        [[ "$output" == *"$said"* ]] || { echo "$name: $output"; false; }
    done <<END
mistral llama.cpp gives llama models no window: beyond 24 positions its numbers are others
phi3 llama.cpp gives phi3 models no window
starcoder2 llama.cpp gives starcoder2 models no window
END
    for name in qwen2 olmo2; do
        python3 tests/golden/families/make_checkpoint.py "$name" "$at/$name"
    done
    python3 - "$at" <<'END'
import json, sys
path = sys.argv[1] + "/qwen2/config.json"
config = json.load(open(path))
config["rope_scaling"] = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
json.dump(config, open(path, "w"))
path = sys.argv[1] + "/olmo2/config.json"
config = json.load(open(path))
config["tie_word_embeddings"] = True
json.dump(config, open(path, "w"))
path = sys.argv[1] + "/olmo2/model.safetensors"
blob = open(path, "rb").read()
start = 8 + int.from_bytes(blob[:8], "little")
header, data = json.loads(blob[8:start]), b""
del header["__metadata__"], header["lm_head.weight"]
for entry in header.values():
    begin, end = entry["data_offsets"]
    entry["data_offsets"] = [len(data), len(data) + end - begin]
    data += blob[start + begin:start + end]
text = json.dumps(header).encode()
open(path, "wb").write(len(text).to_bytes(8, "little") + text + data)
END
    while read -r name said; do
        "$SLM_BIN/slm-convert" "$at/$name" -o "$at/$name.slm" -q
        run -0 "$SLM_BIN/slm-convert" "$at/$name.slm" --to gguf -o "$at/$name.gguf"
        [[ "$output" == *"$said"* ]] || { echo "$name: $output"; false; }
    done <<END
qwen2 llama.cpp does not load qwen2 models with rope_freqs.weight
olmo2 llama.cpp does not load olmo2 models without output.weight
END
}

@test "--to gguf: refusals" {
    make_case f32
    "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm" -q
    run -2 "$SLM_BIN/slm-convert" "$at/m.slm" --to ggml -o "$at/no.gguf"
    run -2 "$SLM_BIN/slm-convert" "$at/m.slm" --to gguf --dtype f16 -o "$at/no.gguf"
    run -2 "$SLM_BIN/slm-convert" "$at/m.slm" --to gguf -o "$at/m.gguf" # exists
    run -3 "$SLM_BIN/slm-convert" "$at/m.gguf" --to gguf -o "$at/no.gguf"
    [ ! -e "$at/no.gguf" ]
}

@test "--to gguf: what GGUF cannot say of a tokenizer is refused or said" {
    cp -r evals/models/tinystories-2.6m "$at/m"
    export_with() { # PYTHON that changes t, a tokenizer.json
        python3 - "$at/m/tokenizer.json" "$1" <<'PY'
import json, sys
t = json.load(open("evals/models/tinystories-2.6m/tokenizer.json"))
bytes_ = [f"<0x{i:02X}>" for i in range(256)]
def marks(scheme, fallback):
    fill = [f"f{i}" for i in range(1024 - 258)]
    vocab = {w: i for i, w in enumerate(["<|endoftext|>", "\u2581"] + bytes_ + fill)}
    t["model"].update(vocab=vocab, merges=[], byte_fallback=fallback)
    t["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "split": False,
                          "prepend_scheme": scheme}
    t["decoder"] = t["pre_tokenizer"]
exec(sys.argv[2])
json.dump(t, open(sys.argv[1], "w"))
PY
        "$SLM_BIN/slm-convert" "$at/m" -o "$at/m.slm" --force -q
        run "$SLM_BIN/slm-convert" "$at/m.slm" --to gguf -o "$at/m.gguf" --force
    }
    export_with 'pass'
    [ "$status" -eq 0 ] && [[ "$output" != *"cannot say"* && "$output" != *"readers of GGUF"* ]]
    export_with 't["pre_tokenizer"]["add_prefix_space"] = True'
    [ "$status" -eq 3 ] && [[ "$output" == *"puts a space before a text"* ]]
    export_with 't["normalizer"] = {"type": "NFC"}'
    [ "$status" -eq 0 ] && [[ "$output" == *"normalization form C first, which GGUF cannot"* ]]
    export_with 't["added_tokens"][0]["rstrip"] = True'
    [ "$status" -eq 0 ] && [[ "$output" == *"1 added tokens take white space"* ]]
    export_with 'marks("first", True)'
    [ "$status" -eq 0 ] && [[ "$output" == *"before those that begin the text"* ]]
    [[ "$output" != *"no byte tokens"* ]]
    export_with 'marks("always", False)'
    [ "$status" -eq 0 ] && [[ "$output" == *"do not begin with a space themselves"* ]]
    [[ "$output" == *"there are no byte tokens"* ]]
}

@test "--to gguf: short super-blocks have no place there" {
    local folder="$SLM_SHARED/models/TinyStories-656K"
    [ -d "$folder" ] || skip "needs shared/models/TinyStories-656K"
    "$SLM_BIN/slm-convert" "$folder" -o "$at/f.slm" -q
    "$SLM_BIN/slm-quantize" "$at/f.slm" "$at/q.slm" --type Q4_K -q
    run -3 "$SLM_BIN/slm-convert" "$at/q.slm" --to gguf -o "$at/no.gguf"
    [[ "$output" == *"short super-block"* ]]
}

@test "--json on success and failure" {
    make_case q6_k
    "$SLM_BIN/slm-convert" "$at/m.gguf" -o "$at/m.slm" --json -q >"$at/r.json"
    python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["types"]["Q6_K"] == 15' \
        "$at/r.json"
    run -3 --separate-stderr "$SLM_BIN/slm-convert" "$at/m.slm" -o "$at/n.slm" --json
    python3 -c 'import json,sys; assert json.loads(sys.argv[1])["error"]["exit_code"] == 3' \
        "$output"
}
