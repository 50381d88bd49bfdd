# slm-convert --inspect: any source is shown, none converted. Expected shapes and names are those
# that the tests wrote into the sources.

bats_require_minimum_version 1.5.0

setup() {
    SLM_BIN="$(realpath "${SLM_BIN:-bin}")"
    DEMO=evals/models/tinystories-2.6m
    T="$BATS_TEST_TMPDIR"
    export PYTHONPATH=tests/cli PYTHONDONTWRITEBYTECODE=1
}

inspect() { "$SLM_BIN/slm-convert" --inspect "$@"; }

make_file() { # Python statements; l() writes m.bin
    python3 -c "
from torch_cases import *
def l(*a, **k):
    llama2c('$T/m.bin', *a, **k)
$1"
}

fits() { python3 tests/lib/json_schema.py schemas/inspect.schema.json; }

# One message, exit 3, and a JSON document that says the same.
refuses() { # PATH MESSAGE
    run --separate-stderr -3 inspect --no-tokenizer "$1"
    [[ "$stderr" == "slm-convert: "*"$2"* ]] || { echo "$stderr, not: $2"; false; }
    [ "${#stderr_lines[@]}" -eq 1 ]
    [[ "$output" == *"verdict: cannot be converted"* ]]
    inspect --no-tokenizer --json "$1" >"$T/out.json" 2>/dev/null || [ $? -eq 3 ]
    fits <"$T/out.json"
    python3 - "$T/out.json" "$2" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["convertible"] is False and d["exit_code"] == 3 and sys.argv[2] in d["reason"], d
PY
}

safetensors() { # PATH, Python expression of a header: a folder with the demo's configuration
    mkdir -p "$1"
    cp "$DEMO/config.json" "$1/"
    python3 - "$1/model.safetensors" "$2" <<'PY'
import json, struct, sys
header = eval(sys.argv[2])
text = (header if isinstance(header, str) else json.dumps(header)).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + bytes(64))
PY
}

@test "a folder: configuration, tensors, tokenizer" {
    inspect --json "$DEMO" >"$T/out.json"
    fits <"$T/out.json"
    python3 - "$T/out.json" "$DEMO" <<'PY'
import json, os, struct, sys
d = json.load(open(sys.argv[1]))
folder = sys.argv[2]
assert d["kind"] == "huggingface" and d["convertible"] and d["reason"] is None
hf = json.load(open(folder + "/config.json"))
assert d["config"]["d_model"] == hf["hidden_size"]
assert d["config"]["n_layers"] == hf["num_hidden_layers"]
header = {}
for name in os.listdir(folder):
    if name.endswith(".safetensors"):
        with open(os.path.join(folder, name), "rb") as f:
            header.update(json.loads(f.read(struct.unpack("<Q", f.read(8))[0])))
header.pop("__metadata__", None)
assert {t["name"]: t["shape"] for t in d["tensors"]} == {k: v["shape"] for k, v in header.items()}
for t in d["tensors"]:
    begin, end = header[t["name"]]["data_offsets"]
    assert t["bytes"] == end - begin and t["type"] == header[t["name"]]["dtype"]
    assert len(t["stored_as"]) == 1 and not t["dropped"]
assert sum(t["bytes"] for t in d["types"]) == sum(t["bytes"] for t in d["tensors"])
assert d["tokenizer"]["tokens"] == hf["vocab_size"] and d["missing"] == []
PY
}

@test "text for people ends with a verdict; nothing is written" {
    cd "$T"
    run -0 inspect "$OLDPWD/$DEMO"
    [[ "$output" == *"q_proj.weight"*" -> blk.0.attn_q.weight"* ]]
    [[ "${lines[-1]}" == "verdict: can be converted"* ]]
    [ -z "$(find "$T" -type f)" ]
}

@test "llama2.c: shapes; without a tokenizer only with --no-tokenizer" {
    make_file "l()"
    run -0 inspect --no-tokenizer "$T/m.bin"
    [[ "$output" == *"tok_embeddings.weight"*"[20, 16] 1280 bytes -> token_embd.weight"* ]]
    [[ "$output" == *"layers.1.attention.wk.weight"*"[8, 16]"*" -> blk.1.attn_k.weight"* ]]
    inspect --no-tokenizer --json "$T/m.bin" | fits
    run --separate-stderr -3 inspect "$T/m.bin"
    [[ "$stderr" == *"--no-tokenizer"* ]]
}

@test "a .slm file is shown too" {
    run -0 inspect tests/fuzz/corpus/slm/tiny.slm
    [[ "$output" == *": slm, architecture llama"* ]]
    [[ "$output" == *"token_embd.weight"* ]]
    inspect --json tests/fuzz/corpus/slm/tiny.slm | fits
}

@test "a tokenizer alone: shown, and how it is converted" {
    cp "$DEMO/tokenizer.json" "$T/tokenizer.json"
    "$SLM_BIN/slm-tokenizer" build "$DEMO" -o "$T/t.bpe1" -q
    python3 -c "
import struct
tokens = [b'<unk>', b'<s>', b'</s>'] + [b'<0x%02X>' % i for i in range(256)] + [b'a', b' ']
open('$T/tokenizer.bin', 'wb').write(struct.pack('<i', 6) + b''.join(
    struct.pack('<fi', -i, len(t)) + t for i, t in enumerate(tokens)))
import sys
sys.path.insert(0, 'tests/cli')
import sentencepiece_cases as s
open('$T/tokenizer.model', 'wb').write(s.GOOD)"
    local name
    for name in tokenizer.json t.bpe1 tokenizer.bin tokenizer.model; do
        inspect --json -q "$T/$name" >"$T/out.json"
        fits <"$T/out.json"
        python3 - "$T/out.json" "$name" "$DEMO" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
n = json.load(open(sys.argv[3] + "/config.json"))["vocab_size"]
n = {"tokenizer.bin": 261, "tokenizer.model": d["tokenizer"]["tokens"]}.get(sys.argv[2], n)
assert d["kind"] == "vocabulary" and d["tokenizer"]["tokens"] == n, d
assert d["convertible"] and "--vocab-only" in d["warnings"][-1], d
PY
        run --separate-stderr -3 "$SLM_BIN/slm-convert" "$T/$name" -o "$T/x.slm"
        [[ "$stderr" == *"$name: holds a tokenizer and no model; --vocab-only"* ]]
        "$SLM_BIN/slm-convert" "$T/$name" --vocab-only -o "$T/x.slm" -q
        rm "$T/x.slm"
    done
    echo '{"version": "1.0"}' >"$T/tokenizer.json"
    refuses "$T/tokenizer.json" "model must be an object"
    refuses "$DEMO/config.json" "name the folder"
}

@test "a GGUF vocabulary: what converts it is said" {
    python3 tests/cli/gguf_cases.py vocabulary "$T/v.gguf"
    refuses "$T/v.gguf" "holds a vocabulary and no weights: --vocab-only"
    "$SLM_BIN/slm-convert" "$T/v.gguf" --vocab-only -o "$T/v.slm" -q
    "$SLM_BIN/slm-validate" -q "$T/v.slm"
}

@test "a GGUF file that is no model is refused after its tensors are listed" {
    refuses tests/fuzz/corpus/gguf/valid.gguf "llama.context_length is missing"
    [[ "$output" == *"Q8_0 "*" 34 bytes"* ]]
    refuses tests/fuzz/corpus/gguf/short.gguf "offset 24"
    [[ "$output" == *"tensors: not known"* ]]
}

@test "malformed input of every kind: one message, exit 3" {
    printf 'GGUF\3\0\0\0' >"$T/bad.gguf"
    refuses "$T/bad.gguf" "bad.gguf"
    printf 'PK\3\4 and no more' >"$T/bad.pt"
    refuses "$T/bad.pt" "bad.pt"
    printf 'ak42' >"$T/bad.bin"
    refuses "$T/bad.bin" "bad.bin"
    head -c 100 tests/fuzz/corpus/slm/tiny.slm >"$T/bad.slm"
    refuses "$T/bad.slm" "bad.slm"
    head -c 100 /dev/zero >"$T/zeros"
    refuses "$T/zeros" "zeros"
    : >"$T/empty"
    refuses "$T/empty" "empty"
    safetensors "$T/cut" "'{'"
    refuses "$T/cut" "model.safetensors"
    mkdir "$T/none"
    refuses "$T/none" "config.json"
}

@test "config.json is bad: the tensors are listed all the same" {
    safetensors "$T/f" "{'some.weight': {'dtype': 'F32', 'shape': [2, 8], 'data_offsets': [0, 64]}}"
    echo '{"architectures": ["MambaForCausalLM"]}' >"$T/f/config.json"
    refuses "$T/f" "MambaForCausalLM"
    [[ "$output" == *"some.weight"*"[2, 8] 64 bytes"* ]]
    [[ "$output" == *"configuration: not known"* ]]
}

@test "what would be dropped is marked" {
    mkdir "$T/f"
    cp "$DEMO"/* "$T/f/"
    python3 - "$T/f/model.safetensors" <<'PY'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
header, data = json.loads(data[8:8 + n]), data[8 + n:]
header["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
    "dtype": "F32", "shape": [4], "data_offsets": [len(data), len(data) + 16]}
text = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data + bytes(16))
PY
    run -0 inspect "$T/f"
    [[ "$output" == *"rotary_emb.inv_freq "*"[4] 16 bytes DROPPED"* ]]
    [[ "$output" == *"dropped: 1 tensors"* ]]
}

@test "tensors that are missing are named" {
    safetensors "$T/f" "{'some.weight': {'dtype': 'F32', 'shape': [2, 8], 'data_offsets': [0, 64]}}"
    refuses "$T/f" "missing"
    [[ "$output" == *"MISSING: what token_embd.weight is made from"* ]]
}

@test "names from a file cannot write to the terminal" {
    safetensors "$T/f" \
        "{'a\x1b[2J\x9b2Jz': {'dtype': 'F32', 'shape': [16], 'data_offsets': [0, 64]}}"
    for json in --no-json --json; do
        inspect --no-tokenizer "$json" "$T/f" >"$T/out" 2>&1 || [ $? -eq 3 ]
        grep -q 'a.*\[2J' "$T/out"
        python3 -c "
import sys
t = open('$T/out', 'rb').read()
assert b'\x1b' not in t and b'\xc2\x9b' not in t and b'\x9b' not in t"
    done
}

@test "headers that announce a million tensors cost nothing" {
    python3 -c "
import struct
open('$T/m.gguf', 'wb').write(b'GGUF' + struct.pack('<IQQ', 3, 10**6, 0) + bytes(1000))"
    # A sanitizer reserves terabytes of addresses: its own limit on an allocation stands in.
    local kib=1000000
    if grep -q __asan_init "$SLM_BIN/slm-convert"; then kib=unlimited; fi
    export ASAN_OPTIONS="${ASAN_OPTIONS:-}:max_allocation_size_mb=500"
    ( ulimit -t 2 -v "$kib"; refuses "$T/m.gguf" "m.gguf" ) # CPU seconds, KiB
}

@test "usage and I/O errors" {
    run -2 inspect "$DEMO" -o "$T/x.slm"
    [[ "$output" == *"--inspect writes nothing"* ]]
    run -4 inspect "$T/nothing"
    [[ "$output" == *"nothing: "* ]]
    mkfifo "$T/pipe"
    ln -s nothing "$T/link"
    local name why
    while IFS='|' read -r name why; do
        run -4 timeout 10 "$SLM_BIN/slm-convert" --inspect "$name"
        [[ "$output" == *"$name: $why"* ]]
        run -4 timeout 10 "$SLM_BIN/slm-convert" "$name" -o "$T/x.slm"
        [[ "$output" == *"$name: $why"* ]]
    done <<END
$T/pipe|is a pipe, not a file
/dev/zero|is a device, not a file
$T/link|cannot be opened: No such file
END
}
