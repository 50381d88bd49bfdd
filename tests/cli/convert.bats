# slm-convert: Hugging Face folders in, .slm files out. Weights are compared with their sources by
# tests/golden/compare_weights.py, which shares no code with the tools.

bats_require_minimum_version 1.5.0

setup() {
    SLM_BIN="$(realpath "${SLM_BIN:-bin}")"
    SLM_SHARED="${SLM_SHARED:-../shared}"
    DEMO=evals/models/tinystories-2.6m
    T="$BATS_TEST_TMPDIR"
    export PYTHONPATH=tests/cli PYTHONDONTWRITEBYTECODE=1
}

convert() { # the weights alone
    "$SLM_BIN/slm-convert" --no-tokenizer "$@"
}

make_folder() { # PATH, Python statements on a Folder f before it is written; SHARDS
    python3 -c "
from convert_cases import *
import sys
f = Folder()
$2
f.write(sys.argv[1], int(sys.argv[2]))" "$1" "${3:-1}"
}

# Expects a refusal with exit code 3, the message, and no file left behind.
refuses() { # PATH MESSAGE
    run -3 convert "$1" -o "$T/out.slm"
    [[ "$output" == *"$2"* ]] || { echo "$output"; false; }
    [ ! -e "$T/out.slm" ]
    [ -z "$(find "$T" -maxdepth 1 -name '.out*')" ]
}

warns() { # PATH MESSAGE
    run -0 convert "$1" -o "$T/out.slm" --force
    [[ "$output" == *"warning: "*"$2"* ]] || { echo "$output"; false; }
    python3 tests/golden/compare_weights.py "$1" "$T/out.slm"
}

# ---- What must work --------------------------------------------------------------------------

same_weights() { # FOLDER [TYPE]
    [ -d "$1" ] || skip "needs $1"
    convert -q "$1" -o "$T/m.slm" --dtype "${2:-keep}"
    python3 tests/golden/compare_weights.py "$1" "$T/m.slm" "${2:-keep}"
}

@test "demo checkpoint: every weight as in the source" { same_weights "$DEMO"; }
@test "demo checkpoint to F32" { same_weights "$DEMO" f32; }
@test "demo checkpoint to F16" { same_weights "$DEMO" f16; }
@test "llama" { same_weights "$SLM_SHARED/conformance/llama"; }
@test "llama3" { same_weights "$SLM_SHARED/conformance/llama3"; }
@test "qwen2" { same_weights "$SLM_SHARED/conformance/qwen2"; }
@test "qwen3" { same_weights "$SLM_SHARED/conformance/qwen3"; }
@test "TinyStories-656K: lm_head alone" { same_weights "$SLM_SHARED/models/TinyStories-656K"; }
@test "TinyStories-656K to BF16" { same_weights "$SLM_SHARED/models/TinyStories-656K" bf16; }

@test "rows that are no multiple of 16 are padded with zeros" {
    python3 -c "
from convert_cases import *
Folder(dtype='F16', d=24, ff=37, heads=4, kv=2).write('$T/odd')"
    same_weights "$T/odd"
    convert -q "$T/odd" -o "$T/w.slm" --dtype f32
    python3 tests/golden/compare_weights.py "$T/odd" "$T/w.slm" f32
}

@test "same input, another folder: same bytes" {
    cp -r "$DEMO" "$T/elsewhere"
    touch -d 2001-01-01 "$T/elsewhere/model.safetensors"
    convert -q "$DEMO" -o "$T/a.slm"
    (cd "$T" && TZ=Asia/Tokyo "$SLM_BIN/slm-convert" --no-tokenizer -q elsewhere -o b.slm)
    cmp "$T/a.slm" "$T/b.slm"
}

@test "shards: the same tensors as one file" {
    python3 -c "
from convert_cases import split
split('$DEMO', '$T/sharded', 3)"
    convert -q "$T/sharded" -o "$T/s.slm"
    python3 tests/golden/compare_weights.py "$DEMO" "$T/s.slm"
}

@test "a download cache: files that are links to blobs" {
    mkdir -p "$T/blobs" "$T/snapshots/1"
    for f in config.json model.safetensors; do
        cp "$DEMO/$f" "$T/blobs/$f-hash"
        ln -s "../../blobs/$f-hash" "$T/snapshots/1/$f"
    done
    convert -q "$T/snapshots/1" -o "$T/c.slm"
    python3 tests/golden/compare_weights.py "$DEMO" "$T/c.slm"
}

@test "an export of the bare decoder: no name has the prefix" {
    make_folder "$T/f" "
f.tensors = {n.removeprefix('model.'): t for n, t in f.tensors.items() if n != 'lm_head.weight'}
f.config['tie_word_embeddings'] = True"
    same_weights "$T/f"
}

@test "--json: one document that tells what was written" {
    run -0 --separate-stderr convert "$DEMO" -o "$T/m.slm" --json
    echo "$output" | python3 -c "
import json, os, sys
d = json.load(sys.stdin)
assert d['bytes'] == os.path.getsize('$T/m.slm'), d
assert d['output'] == '$T/m.slm' and d['architecture'] == 'llama' and d['n_tensors'] == 38, d
assert d['types'] == {'F32': 9, 'BF16': 29} and d['config']['rope_theta'] == 10000, d
assert d['config']['n_context'] == 256 and d['config']['tied_output'] is True, d
assert d['warnings'] == [], d"
}

@test "--json on failure: one document with code and text" {
    run -3 --separate-stderr convert tests -o "$T/m.slm" --json
    echo "$output" | python3 -c "
import json, sys
e = json.load(sys.stdin)['error']
assert e['exit_code'] == 3 and 'config.json' in e['text'], e"
}

@test "provenance names files and digests, and no paths" {
    convert -q "$DEMO" -o "$T/m.slm"
    python3 -c "
import hashlib, json, struct
blob = open('$T/m.slm', 'rb').read()
n, table = struct.unpack_from('<I4xQ', blob, 24)
for i in range(n):
    kind, _, at, size = struct.unpack_from('<4sIQQ', blob, table + 40 * i)
    if kind == b'PROV':
        text = blob[at:at + size].decode()
assert 'evals' not in text and '/' not in text, text
files = {f['name']: f for f in json.loads(text)['files']}
for name in ('config.json', 'generation_config.json', 'model.safetensors'):
    data = open('$DEMO/' + name, 'rb').read()
    assert files[name]['sha256'] == hashlib.sha256(data).hexdigest(), name
    assert files[name]['bytes'] == len(data), name"
}

@test "progress on request, silence with -q" {
    run -0 convert "$DEMO" -o "$T/m.slm" --progress
    [[ "$output" == *hashing* ]]
    run -0 convert "$DEMO" -o "$T/m.slm" --force -q
    [ -z "$output" ]
}

@test "peak memory stays small for a large tensor" { # 256 MiB of F16, written as a hole
    make_folder "$T/f" "
f = Folder(dtype='F16', d=64, ff=64, heads=1, kv=1, layers=1, vocab=8)
del f.tensors['model.embed_tokens.weight'], f.tensors['lm_head.weight']
f.config.update(vocab_size=2**21, tie_word_embeddings=True)"
    python3 -c "
import json, os, struct
path = '$T/f/model.safetensors'
blob = open(path, 'rb').read()
n, = struct.unpack_from('<Q', blob)
h = json.loads(blob[8:8 + n])
end = len(blob) - 8 - n
big = 2**21 * 64 * 2
h['lm_head.weight'] = {'dtype': 'F16', 'shape': [2**21, 64], 'data_offsets': [end, end + big]}
text = json.dumps(h).encode()
with open(path, 'wb') as f:
    f.write(struct.pack('<Q', len(text)) + text + blob[8 + n:])
    f.truncate(8 + len(text) + end + big)"
    python3 -c "
import resource, subprocess, sys
arguments = ['--no-tokenizer', '-q', '$T/f', '-o', '$T/m.slm']
subprocess.run(['$SLM_BIN/slm-convert'] + arguments, check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print('peak KiB', peak)
sys.exit(peak > (65536 if 'asan' not in '$SLM_BIN' else 262144))"
    rm "$T/m.slm"
}

# ---- Tokenizer -----------------------------------------------------------------------------------

with_tokenizer() { # ARGUMENTS: as slm-convert; skips while this build cannot read tokenizers
    run "$SLM_BIN/slm-convert" "$@"
    [[ "$output" != *"cannot be read yet"* ]] || skip "this build reads no tokenizers"
    [ "$status" = 0 ] || { echo "$output"; false; }
}

sections() { # FILE: the kinds of its sections
    python3 -c "
import struct
blob = open('$1', 'rb').read()
n, table = struct.unpack_from('<I4xQ', blob, 24)
print(*(blob[table + 40 * i:table + 40 * i + 4].decode() for i in range(n)))"
}

@test "the tokenizer becomes a section; --no-tokenizer leaves it out" {
    with_tokenizer "$DEMO" -o "$T/m.slm"
    [ "$(sections "$T/m.slm")" = "CONF TOKN PROV TDIR DATA" ]
    convert -q "$DEMO" -o "$T/n.slm"
    [ "$(sections "$T/n.slm")" = "CONF PROV TDIR DATA" ]
}

@test "no tokenizer.json: said, and what to do" {
    cp -r "$DEMO" "$T/f"
    rm "$T/f/tokenizer.json"
    run -3 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
    [[ "$output" == *"there is no tokenizer.json (--no-tokenizer"* ]]
}

@test "a chat template in a file of its own counts" {
    cp -r "$DEMO" "$T/f"
    printf '%s' "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' +" \
        " message['content'] + '<|im_end|>' + '\n'}}{% endfor %}" >"$T/f/chat_template.jinja"
    with_tokenizer "$T/f" -o "$T/m.slm"
    [ "$(sections "$T/m.slm")" = "CONF TOKN CHAT TMPL PROV TDIR DATA" ]
    run -0 "$SLM_BIN/slm-validate" "$T/m.slm"
    run -0 --separate-stderr "$SLM_BIN/slm-run" "$T/m.slm" --chat -p hello -n 3 -q
}

@test "TK50: two chat templates: the file's counts, and the other is told of" {
    cp -r "$DEMO" "$T/f"
    python3 - "$T/f" <<'END'
import json, sys
path = sys.argv[1] + "/tokenizer_config.json"
config = json.load(open(path))
config["chat_template"] = "{% for m in messages %}{{ m.content }}{% endfor %}"
json.dump(config, open(path, "w"))
open(sys.argv[1] + "/chat_template.jinja", "w").write(
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endfor %}")
END
    run -0 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
    [[ "$output" == *"tokenizer_config.json: chat_template is not that of chat_template.jinja"* ]]
    grep -aq 'im_start' "$T/m.slm"
    python3 - "$T/f" <<'END'
import json, sys
path = sys.argv[1] + "/tokenizer_config.json"
config = json.load(open(path))
config["chat_template"] = open(sys.argv[1] + "/chat_template.jinja").read()
json.dump(config, open(path, "w"))
END
    rm "$T/m.slm"
    run -0 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
    [[ "$output" != *"is not that of"* ]]
}

@test "TK51 a chat template that turns do not reproduce: kept as text, said, and what to do" {
    cp -r "$DEMO" "$T/f"
    printf '%s' "{% for m in messages %}{{ loop.index ~ m.content }}{% endfor %}" \
        >"$T/f/chat_template.jinja"
    run -0 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
    [[ "$output" == *"kept as text, without chat turns: "* ]]
    [ "$(sections "$T/m.slm")" = "CONF TOKN TMPL PROV TDIR DATA" ]
    grep -aq 'loop.index ~ m.content' "$T/m.slm"
    run -3 "$SLM_BIN/slm-run" "$T/m.slm" --chat -p hello
    [[ "$output" == *"without --chat, with --control --no-special -p TEXT"* ]]
    "$SLM_BIN/slm-quantize" -q "$T/m.slm" "$T/q.slm" --type Q8_0
    [ "$(sections "$T/q.slm")" = "CONF TOKN TMPL PROV TDIR DATA" ]
}

# ---- Outputs -----------------------------------------------------------------------------------

@test "an existing output needs --force, and survives a failed run" {
    echo precious >"$T/out.slm"
    run -2 convert "$DEMO" -o "$T/out.slm"
    make_folder "$T/f" "f.poke('lm_head.weight', 1279, struct.pack('<f', float('nan')))"
    run -3 convert "$T/f" -o "$T/out.slm" --force
    [ "$(cat "$T/out.slm")" = precious ]
    [ -z "$(find "$T" -maxdepth 1 -name '.out*')" ]
    run -0 convert "$DEMO" -o "$T/out.slm" --force -q
}

@test "output equal to an input is refused, also through links" {
    cp -r "$DEMO" "$T/f"
    ln -s "f/model.safetensors" "$T/link"
    ln "$T/f/config.json" "$T/hard"
    before=$(cat "$T"/f/* | cksum)
    for out in "$T/f/model.safetensors" "$T/f/../f/config.json" "$T/link" "$T/hard"; do
        run -2 convert "$T/f" -o "$out" --force
        [[ "$output" == *"is the input"* ]]
    done
    [ "$(cat "$T"/f/* | cksum)" = "$before" ]
}

@test "misuse: exit 2" {
    run -2 convert "$DEMO"
    [[ "$output" == *"-o is missing"* ]]
    run -2 convert "$DEMO" -o -
    run -2 convert "$DEMO" -o "$T/m.slm" --dtype f64
    [[ "$output" == *"keep, f32, f16 or bf16"* ]]
    run -2 convert
    run -2 convert "$DEMO" -o "$T/m.slm" --allow-nonfinite
}

@test "files that cannot be read: exit 4" {
    run -4 convert "$T/nothing" -o "$T/m.slm"
    mkdir "$T/f"
    mkfifo "$T/f/config.json" # CF60: must not hang
    run -4 timeout 10 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
    rm "$T/f/config.json"
    cp "$DEMO/config.json" "$T/f"
    ln -s /dev/zero "$T/f/model.safetensors" # ST68
    run -4 timeout 10 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
    ln -sf loop "$T/f/loop"
    ln -sf loop "$T/f/model.safetensors"
    run -4 timeout 10 "$SLM_BIN/slm-convert" "$T/f" -o "$T/m.slm"
}

@test "no room for the output: exit 4, nothing left" {
    run -4 bash -c "ulimit -f 1024; '$SLM_BIN/slm-convert' --no-tokenizer '$DEMO' -o '$T/m.slm'"
    [ ! -e "$T/m.slm" ]
    [ -z "$(find "$T" -maxdepth 1 -name '.m*')" ]
}

# ---- Weights that are refused --------------------------------------------------------------------

@test "ST56, ST57: NaN and infinity, with tensor and element" {
    make_folder "$T/f" "
f.poke('model.layers.1.mlp.up_proj.weight', 3 * 32 + 5, b'\x00\x00\xc0\x7f')"
    refuses "$T/f" "model.layers.1.mlp.up_proj.weight: element [3, 5] is NaN"
    make_folder "$T/f" "f.poke('model.norm.weight', 7, b'\x00\x00\x80\xff')"
    refuses "$T/f" "model.norm.weight: element [7] is infinite"
    make_folder "$T/f" "
f = Folder(dtype='BF16')
f.poke('lm_head.weight', 0, b'\x81\x7f')"
    refuses "$T/f" "element [0, 0] is NaN"
    make_folder "$T/f" "
f = Folder(dtype='F16')
f.poke('lm_head.weight', 1, b'\x01\x7c')"
    refuses "$T/f" "element [0, 1] is NaN"
}

@test "ST58, ST59: a value that does not fit the target type" {
    make_folder "$T/f" "f.poke('lm_head.weight', 33, struct.pack('<f', 1e30))"
    run -3 convert "$T/f" -o "$T/out.slm" --dtype f16
    [[ "$output" == *"lm_head.weight: element [1, 1] is 1e+30, too large for F16"* ]]
    [ ! -e "$T/out.slm" ]
    run -0 convert "$T/f" -o "$T/out.slm" --dtype bf16
    make_folder "$T/f" "f.poke('lm_head.weight', 0, b'\xff\xff\x7f\x7f')" # rounds up to infinity
    run -3 convert "$T/f" -o "$T/out.slm" --dtype bf16 --force
}

@test "ST60: tensors missing" {
    make_folder "$T/f" "del f.tensors['model.norm.weight']"
    refuses "$T/f" "model.norm.weight is missing"
    make_folder "$T/f" "del f.tensors['model.layers.1.self_attn.k_proj.weight']"
    refuses "$T/f" "model.layers.1.self_attn.k_proj.weight is missing"
    make_folder "$T/f" "f.tensors = {}" # ST05
    refuses "$T/f" "holds no tensors"
}

@test "ST61: shapes that disagree" {
    make_folder "$T/f" "f.add('model.layers.0.mlp.up_proj.weight', [32, 48])"
    refuses "$T/f" "up_proj.weight has shape [32, 48], config.json asks for [48, 32]"
    make_folder "$T/f" "f.add('model.norm.weight', [1, 32])"
    refuses "$T/f" "model.norm.weight has shape [1, 32], config.json asks for [32]"
    make_folder "$T/f" "f.add('lm_head.weight', [1280])"
    refuses "$T/f" "lm_head.weight has shape [1280]"
    make_folder "$T/f" "f.add('lm_head.weight', [0, 32], b'')" # ST34
    refuses "$T/f" "lm_head.weight has shape [0, 32]"
}

@test "ST62: tensors left over" {
    make_folder "$T/f" "f.add('model.layers.99.mlp.up_proj.weight', [48, 32])"
    refuses "$T/f" "1 tensor is left over, for which llama models have no place: model.layers.99"
    make_folder "$T/f" "f.add('model.layers.0.self_attn.rotary_emb.inv_freq', [4])"
    run -0 convert "$T/f" -o "$T/out.slm"
    [[ "$output" == *"warning: tensors that no result depends on are left out: 1,"*inv_freq* ]]
}

@test "ST29: types that are not supported are called by name" {
    make_folder "$T/f" "f.add('lm_head.weight', [40, 32], bytes(1280), 'F8_E4M3')"
    refuses "$T/f" "lm_head.weight in model.safetensors has type F8_E4M3, which is not supported"
}

@test "ST53: names cannot drive the terminal" {
    make_folder "$T/f" "f.add('a\x1b[31m\nb', [4])"
    refuses "$T/f" "a?[31m?b"
}

@test "ST45, ST70: a cut or damaged file" {
    make_folder "$T/f" ""
    truncate -s -1 "$T/f/model.safetensors"
    refuses "$T/f" "data_offsets"
    truncate -s 100 "$T/f/model.safetensors"
    refuses "$T/f" "truncated download"
    : >"$T/f/model.safetensors" # ST01
    refuses "$T/f" "too few"
    echo "version https://git-lfs.github.com/spec/v1" >"$T/f/model.safetensors" # ST72
    refuses "$T/f" "git lfs pull"
}

@test "no weights: the folder's other files are named" {
    mkdir "$T/f"
    cp "$DEMO/config.json" "$T/f"
    touch "$T/f/pytorch_model.bin"
    refuses "$T/f" "pytorch_model.bin"
    refuses "$DEMO/config.json" "name the folder"
}

# ---- Shards --------------------------------------------------------------------------------------

edit_index() { # PATH, Python statements on an index i of two shards a and b
    python3 -c "
from convert_cases import *
f = Folder()
i = f.write('$1', 2)
a, b = 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'
m = i['weight_map']
$2
write_index('$1', i)"
}

@test "ST63: a tensor in two shards" {
    edit_index "$T/f" "
t = {n: f.tensors[n] for n in m if m[n] == b or n == 'lm_head.weight' or n == 'model.norm.weight'}
write_safetensors('$T/f/' + b, t)"
    refuses "$T/f" "is in both model-00001-of-00002.safetensors and model-00002-of-00002"
}

@test "ST64: a shard that is absent" {
    edit_index "$T/f" "os.unlink('$T/f/' + b)"
    refuses "$T/f" "names model-00002-of-00002.safetensors, which is not there"
}

@test "ST65: a shard that is not in the index" {
    edit_index "$T/f" "write_safetensors('$T/f/zz.safetensors', {})"
    run -0 convert "$T/f" -o "$T/out.slm"
    [[ "$output" == *"warning: 1 other .safetensors file is in the folder"*"zz.safetensors"* ]]
}

@test "ST66: a tensor in another shard than the index says" {
    edit_index "$T/f" "m['model.norm.weight'] = a if m['model.norm.weight'] == b else b"
    refuses "$T/f" "model.norm.weight should be in"
    edit_index "$T/f" "m['ghost'] = a"
    refuses "$T/f" "ghost is not in model-00001-of-00002.safetensors nor in any other"
    edit_index "$T/f" "del m['model.norm.weight']"
    refuses "$T/f" "model.norm.weight is not listed"
}

@test "ST67: shard names that reach out of the folder" {
    make_folder "$T/other" ""
    cp "$T/other/model.safetensors" "$T/x"
    for name in ../x /etc/passwd a/../../b 'C:\\x' '' . .. 'a\\u0000b'; do
        edit_index "$T/f" "m['model.norm.weight'] = '@'"
        sed -i "s|\"@\"|\"$name\"|" "$T/f/model.safetensors.index.json"
        run -3 convert "$T/f" -o "$T/out.slm"
    done
    edit_index "$T/f" "m['model.norm.weight'] = '../x'"
    refuses "$T/f" "must be the plain name of a file in the folder"
    edit_index "$T/f" "m['model.norm.weight'] = 'n' * 4097"
    refuses "$T/f" "must be the plain name"
}

@test "ST69: total_size" {
    edit_index "$T/f" "i['metadata']['total_size'] += 1"
    run -0 convert "$T/f" -o "$T/out.slm"
    [[ "$output" == *"warning: model.safetensors.index.json: metadata.total_size"* ]]
    rm "$T/out.slm"
    edit_index "$T/f" "i['metadata']['total_size'] = -1"
    refuses "$T/f" "metadata.total_size must be"
    edit_index "$T/f" "i['metadata']['total_size'] = '1'"
    refuses "$T/f" "metadata.total_size must be"
}

@test "ST68: a shard that is a pipe does not hang" {
    edit_index "$T/f" "
os.unlink('$T/f/' + b)
os.mkfifo('$T/f/' + b)"
    run -4 timeout 10 "$SLM_BIN/slm-convert" --no-tokenizer "$T/f" -o "$T/out.slm"
}

@test "many shards under a small descriptor limit" {
    python3 -c "
from convert_cases import *
Folder().write('$T/f', 20)"
    (ulimit -n 12 && convert -q "$T/f" -o "$T/out.slm")
    python3 tests/golden/compare_weights.py "$T/f" "$T/out.slm"
}

# ---- Configuration against weights ---------------------------------------------------------------

@test "CF11: hidden_size is not that of the embedding" {
    make_folder "$T/f" "f.config['hidden_size'] = 64"
    refuses "$T/f" "model.embed_tokens.weight has shape [40, 32], config.json asks for [40, 64]"
}

@test "CF63: a context whose memory is not there: what it needs is said" {
    make_folder "$T/f" "
f = Folder(d=256, ff=16, heads=4, kv=4, layers=4)
f.config['max_position_embeddings'] = 2**24"
    convert -q "$T/f" -o "$T/out.slm"
    printf '\1\0\0\0' >"$T/ids"
    run -5 "$SLM_BIN/slm-run" "$T/out.slm" --ids "$T/ids" --ctx 16777216 --kv f32 -n 1
    [[ "$output" == *"MiB of memory, which are not there"* ]]
}

@test "CF16: more and fewer layers than present" {
    make_folder "$T/f" "f.config['num_hidden_layers'] = 3"
    refuses "$T/f" "model.layers.2.input_layernorm.weight is missing (9 missing"
    make_folder "$T/f" "f.config['num_hidden_layers'] = 1"
    refuses "$T/f" "9 tensors are left over"
}

@test "CF18: rows of the embedding and vocab_size" {
    make_folder "$T/f" "f.config['vocab_size'] = 38"
    warns "$T/f" "the embedding has 40 rows for vocab_size 38"
    rm "$T/out.slm"
    make_folder "$T/f" "f.config['vocab_size'] = 41"
    refuses "$T/f" "model.embed_tokens.weight has shape [40, 32], config.json asks for [41, 32]"
}

@test "CF19: a token beyond the rows of the model" {
    cp -r "$DEMO" "$T/f"
    python3 - "$T/f/tokenizer.json" <<'END'
import json, sys
tokenizer = json.load(open(sys.argv[1]))
tokenizer["added_tokens"].append({"id": 1024, "content": "<|beyond|>", "special": True,
    "single_word": False, "lstrip": False, "rstrip": False, "normalized": False})
json.dump(tokenizer, open(sys.argv[1], "w"))
END
    run -3 "$SLM_BIN/slm-convert" "$T/f" -o "$T/out.slm"
    [[ "$output" == *"tokenizer.json: the highest token id is 1024, but the model has 1024 rows"* ]]
    [ ! -e "$T/out.slm" ]
}

@test "CF32: tied and both present" {
    make_folder "$T/f" "
f.config['tie_word_embeddings'] = True
f.tensors['lm_head.weight'] = f.tensors['model.embed_tokens.weight']"
    warns "$T/f" "lm_head.weight equals model.embed_tokens.weight and is stored once"
    rm "$T/out.slm"
    make_folder "$T/f" "f.config['tie_word_embeddings'] = True"
    refuses "$T/f" "model.embed_tokens.weight and lm_head.weight are different"
}

@test "CF33: not tied and lm_head missing" {
    make_folder "$T/f" "del f.tensors['lm_head.weight']"
    refuses "$T/f" "lm_head.weight is missing"
    [[ "$output" == *"tie_word_embeddings is false or absent"* ]]
}

@test "CF34: dtype contradicts the tensors" {
    make_folder "$T/f" "f.config['torch_dtype'] = 'bfloat16'"
    warns "$T/f" 'dtype "bfloat16" is not that of the weights (F32)'
}

@test "CF35: ids out of range" {
    make_folder "$T/f" "f.config['bos_token_id'] = 40"
    refuses "$T/f" "bos_token_id 40 is not below the vocabulary's 40"
    make_folder "$T/f" "f.config['eos_token_id'] = [1, 40]"
    refuses "$T/f" "eos_token_id 40 is not below"
}

@test "CF39: biases" {
    make_folder "$T/f" "f.config['attention_bias'] = True"
    refuses "$T/f" "self_attn.q_proj.bias is missing"
    make_folder "$T/f" "
f.add('model.layers.0.self_attn.q_proj.bias', [32])"
    refuses "$T/f" "left over"
    biases="
f.config['attention_bias'] = True
for i in range(2):
    for p, n in (('q', 32), ('k', 16), ('v', 16)):
        f.add(f'model.layers.{i}.self_attn.{p}_proj.bias', [n])"
    make_folder "$T/f" "$biases"
    same_weights "$T/f"
    warns "$T/f" "o_proj.bias is missing: the output of attention is taken to have no bias"
    rm "$T/out.slm"
    make_folder "$T/f" "$biases
f.add('model.layers.0.self_attn.o_proj.bias', [32])"
    refuses "$T/f" "model.layers.1.self_attn.o_proj.bias is missing"
    make_folder "$T/f" "$biases
for i in range(2):
    f.add(f'model.layers.{i}.self_attn.o_proj.bias', [32])"
    convert -q "$T/f" -o "$T/o.slm"
    python3 tests/golden/compare_weights.py "$T/f" "$T/o.slm"
}

@test "CF59: the configuration of another model: one message" {
    make_folder "$T/f" "f.config.update(hidden_size=64, intermediate_size=128, vocab_size=50)"
    refuses "$T/f" "is config.json that of another model?"
    [ "${#lines[@]}" = 1 ]
}

@test "mistral: a window does not limit the context" {
    make_folder "$T/f" "
f.config.update(architectures=['MistralForCausalLM'], model_type='mistral', sliding_window=16)"
    run -0 --separate-stderr convert "$T/f" -o "$T/out.slm" --json
    [[ "$output" == *'"n_context":64'* || "$output" == *'"n_context": 64'* ]]
    [ -z "$stderr" ]
}

@test "matrices stored columns first, longer than one piece of reading" {
    make_folder "$T/f" "
f.config = dict(architectures=['GPT2LMHeadModel'], model_type='gpt2', vocab_size=8, n_embd=2,
                n_layer=1, n_head=1, n_positions=4, n_inner=300000)
shapes = {'wte.weight': [8, 2], 'wpe.weight': [4, 2], 'ln_f.weight': [2], 'ln_f.bias': [2],
          'h.0.attn.bias': [1, 1, 4, 4]} # the causal mask, no parameter
for name, shape in (('ln_1', [2]), ('ln_2', [2]), ('attn.c_attn', [2, 6]), ('attn.c_proj', [2, 2]),
                    ('mlp.c_fc', [2, 300000]), ('mlp.c_proj', [300000, 2])):
    shapes[f'h.0.{name}.weight'] = shape
    shapes[f'h.0.{name}.bias'] = shape[-1:]
f.tensors = {}
for name, shape in shapes.items():
    f.add(name, shape)"
    convert -q "$T/f" -o "$T/m.slm"
    PYTHONPATH=tests/golden python3 -c "
import array
from compare_weights import read_slm, read_source
source, slm = read_source('$T/f'), read_slm('$T/m.slm')
def turned(name, first, rows): # rows of ours = columns of theirs
    (n_in, n_out), data = source[name][1], array.array('f', source[name][2])
    return [list(data[r::n_out]) for r in range(first, first + rows)]
def ours(name): # without the padding of each row
    (rows, columns), data = slm[name][1], array.array('f', slm[name][2])
    stride = (columns + 15) // 16 * 16
    return [list(data[r * stride:r * stride + columns]) for r in range(rows)]
for name, theirs, first, rows in (
        ('attn_q', 'attn.c_attn', 0, 2), ('attn_k', 'attn.c_attn', 2, 2),
        ('attn_v', 'attn.c_attn', 4, 2), ('attn_output', 'attn.c_proj', 0, 2),
        ('ffn_up', 'mlp.c_fc', 0, 300000), ('ffn_down', 'mlp.c_proj', 0, 2)):
    assert ours(f'blk.0.{name}.weight') == turned(f'h.0.{theirs}.weight', first, rows), name
    bias = array.array('f', source[f'h.0.{theirs}.bias'][2])[first:first + rows]
    assert array.array('f', slm[f'blk.0.{name}.bias'][2]) == bias, name"
}

@test "shapes of tensors that hold several of ours, or lie columns first" {
    make_folder "$T/f" "
f.config = dict(architectures=['GPT2LMHeadModel'], model_type='gpt2', vocab_size=8, n_embd=4,
                n_layer=1, n_head=1, n_positions=4)
f.tensors = {}
f.add('h.0.attn.c_attn.weight', [12, 4])"
    refuses "$T/f" "h.0.attn.c_attn.weight has shape [12, 4], config.json asks for [4, 12]"
}

@test "CF01: a config.json of 100 MB" {
    make_folder "$T/f" ""
    truncate -s 100000000 "$T/f/config.json"
    refuses "$T/f" "is longer than"
}

@test "CF61: two configurations" {
    make_folder "$T/f" ""
    echo '{"dim": 7}' >"$T/f/params.json"
    warns "$T/f" "params.json is not read"
}

@test "families that are not supported are listed" {
    make_folder "$T/f" "f.config['architectures'] = ['MambaForCausalLM']"
    refuses "$T/f" 'architecture "MambaForCausalLM" is not supported; known are LlamaForCausalLM'
}
