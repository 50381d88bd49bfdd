# slm-convert: PyTorch checkpoints. The files are built by torch_cases.py with Python's own pickle
# and zipfile; what they must become is compared with llama2.c's .bin of the same weights.

bats_require_minimum_version 1.5.0

setup() {
    SLM_BIN="$(realpath "${SLM_BIN:-bin}")"
    SLM_SHARED="${SLM_SHARED:-../shared}"
    T="$BATS_TEST_TMPDIR"
    export PYTHONPATH=tests/cli PYTHONDONTWRITEBYTECODE=1
}

make_file() { # Python statements; T is the folder, c() a checkpoint
    python3 -c "
from torch_cases import *
T = '$T/'
c = checkpoint
$1"
}

convert() {
    "$SLM_BIN/slm-convert" --no-tokenizer "$@"
}

content() { # FILE: checksum of its weights after conversion
    convert --force -q "$1" -o "$T/c.slm"
    "$SLM_BIN/slm-validate" --json "$T/c.slm" | grep '"content_checksum"'
}

refuses() { # PATH MESSAGE
    run -3 convert "$1" -o "$T/out.slm"
    [[ "$output" == *"$2"* ]] || { echo "$output"; false; }
    [ ! -e "$T/out.slm" ]
}

same_as_bin() { # Python statements that write m.pt
    make_file "llama2c(T + 'm.bin')
$1"
    [ "$(content "$T/m.pt")" = "$(content "$T/m.bin")" ]
}

@test "checkpoint: the weights of llama2.c's .bin" { same_as_bin "save(T + 'm.pt', c())"; }
@test "protocol 4" { same_as_bin "save(T + 'm.pt', c(), protocol=4)"; }
@test "PT08: deflated members" { same_as_bin "save(T + 'm.pt', c(), compress=True)"; }
@test "PT47: transposed storages" { same_as_bin "save(T + 'm.pt', c(transposed=True))"; }
@test "PT50: DDP and torch.compile prefixes" {
    same_as_bin "d = c()
d['model'] = OrderedDict(('module._orig_mod.' + k, v) for k, v in d['model'].items())
save(T + 'm.pt', d)"
    run -0 convert --force "$T/m.pt" -o "$T/c.slm"
    [[ "$output" == *"begins with module._orig_mod., which is taken off"* ]]
    [[ "$output" == *'the weights are those of "model"'* ]]
}
@test "PT49: parameters instead of tensors, device cuda:99 ignored" {
    same_as_bin "d = c()
for t in d['model'].values(): t.parameter = True
save(T + 'm.pt', d)"
}
@test "PT48: tied weights are stored once, separate ones twice" {
    make_file "save(T + 'a.pt', c()); save(T + 'b.pt', c(separate=True))"
    convert --json "$T/a.pt" -o "$T/a.slm" >"$T/a.json" 2>/dev/null
    convert --json "$T/b.pt" -o "$T/b.slm" >"$T/b.json" 2>/dev/null
    [ "$(stat -c %s "$T/b.slm")" -gt "$(stat -c %s "$T/a.slm")" ]
}
@test "llama2xs: ckpt.pt and model.bin hold the same weights, and give the same logits" {
    S="$SLM_SHARED/models"
    [ -d "$S/llama2xs" ] || skip "needs shared/models/llama2xs"
    [ "$(content "$S/llama2xs/ckpt.pt")" = "$(content "$S/llama2xs/model.bin")" ]
    convert --force -q "$S/llama2xs/ckpt.pt" -o "$T/c.slm"
    convert --force -q "$S/llama2xs/model.bin" -o "$T/d.slm"
    for m in c d; do
        "$SLM_BIN/slm-run" "$T/$m.slm" --ids "$S/stories260K/tokens.i32" --logits-digest -n 0 \
            >"$T/$m.txt"
    done
    cmp "$T/c.txt" "$T/d.txt"
}

# A Hugging Face folder whose weights are in pytorch_model.bin.
make_folder() { # N_SHARDS
    python3 -c "
import json, os, struct, sys
from torch_cases import *
src, out, n = 'evals/models/tinystories-2.6m', '$T/f', $1
os.makedirs(out)
data = open(src + '/model.safetensors', 'rb').read()
size = struct.unpack('<Q', data[:8])[0]
header = json.loads(data[8:8 + size])
kinds = dict(F32='Float', F16='Half', BF16='BFloat16')
parts, where = [OrderedDict() for _ in range(n)], {}
for i, (name, t) in enumerate((k, v) for k, v in header.items() if k != '__metadata__'):
    a, b = t['data_offsets']
    parts[i % n][name] = Tensor(Storage(data[8 + size + a:8 + size + b], kinds[t['dtype']]),
                                t['shape'])
    where[name] = f'pytorch_model-{i % n + 1:05}-of-{n:05}.bin'
for i, part in enumerate(parts):
    save(out + ('/pytorch_model.bin' if n == 1 else
                f'/pytorch_model-{i + 1:05}-of-{n:05}.bin'), part)
if n > 1:
    json.dump(dict(metadata={}, weight_map=where),
              open(out + '/pytorch_model.bin.index.json', 'w'))
for f in ('config.json', 'generation_config.json'):
    open(out + '/' + f, 'w').write(open(src + '/' + f).read())"
}
@test "pytorch_model.bin beside config.json" {
    make_folder 1
    [ "$(content "$T/f")" = "$(content evals/models/tinystories-2.6m)" ]
}
@test "pytorch_model.bin.index.json" {
    make_folder 3
    [ "$(content "$T/f")" = "$(content evals/models/tinystories-2.6m)" ]
}
@test "PT56: a shard that is missing, a name that leaves the folder" {
    make_folder 2
    mv "$T/f/pytorch_model-00002-of-00002.bin" "$T/away"
    refuses "$T/f" "names pytorch_model-00002-of-00002.bin, which is not there"
    sed -i 's|pytorch_model-00002|../pytorch_model-00002|' "$T/f/pytorch_model.bin.index.json"
    refuses "$T/f" "the plain name of a file in the folder"
}

# ---- What is refused -------------------------------------------------------------------------

@test "PT01: no zip, an empty one, the legacy format" {
    : >"$T/empty.pt"
    refuses "$T/empty.pt" "does not begin with a zip member"
    python3 -c "import zipfile; zipfile.ZipFile('$T/z.pt', 'w').close()"
    refuses "$T/z.pt" "does not begin with a zip member"
    printf '\200\002\212\012l\374\234F' >"$T/old.pt"
    refuses "$T/old.pt" "before 1.6"
}
@test "PT59: other kinds of file are named" {
    printf '\037\213\010' >"$T/a"
    refuses "$T/a" "gzip"
    printf '<!DOCTYPE html>' >"$T/b"
    refuses "$T/b" "a web page"
    printf 'version https://git-lfs.github.com/spec/v1\n' >"$T/c"
    refuses "$T/c" "Git LFS"
    printf '7z\274\257\047\034' >"$T/d"
    refuses "$T/d" "7z"
    tar cf "$T/e" -C "$T" a
    refuses "$T/e" "a tar archive"
}
@test "PT09: a member that grows too much" {
    make_file "save(T + 'm.pt', {'w': Tensor(Storage(bytes(10**7)), (2500000,))}, compress=True)"
    refuses "$T/m.pt" "grows more than 100-fold"
}
@test "PT10: CRC" {
    make_file "save(T + 'm.pt', c())
d = bytearray(open(T + 'm.pt', 'rb').read())
d[d.index(floats(weights()['norm.weight'][1]))] ^= 1
open(T + 'm.pt', 'wb').write(d)"
    refuses "$T/m.pt" "CRC-32 is wrong"
}
@test "PT12: data.pkl twice, absent, in capitals" {
    make_file "save(T + 'a.pt', c(), extra={'x/data.pkl': b''})
save(T + 'b.pt', c(), leave_out=['data.pkl'])
save(T + 'c.pt', c(), leave_out=['data.pkl'], extra={'data.PKL': dump(c())[0]})"
    refuses "$T/a.pt" "two members are called data.pkl"
    refuses "$T/b.pt" "no member is called data.pkl"
    refuses "$T/c.pt" "no member is called data.pkl"
}
@test "PT13: a storage is missing; one too many is a warning" {
    make_file "save(T + 'a.pt', c(), leave_out=['data/0'])
save(T + 'b.pt', c(), extra={'data/999': b'x'})"
    refuses "$T/a.pt" "data/0 is missing"
    run -0 convert "$T/b.pt" -o "$T/b.slm"
    [[ "$output" == *"1 members of data/ belong to no tensor"* ]]
}
@test "PT14: storages of another length" {
    make_file "d = c(); d['model']['norm.weight'].storage.data += b'1234'
save(T + 'a.pt', d)
d = c(); s = d['model']['norm.weight'].storage; s.data = s.data[:-1]
save(T + 'b.pt', d)"
    refuses "$T/a.pt" "data.pkl asks for 64"
    refuses "$T/b.pt" "data.pkl asks for 64"
}
@test "PT17, PT18: byte order and version" {
    make_file "for i, (k, v) in enumerate([('byteorder', b'big'), ('byteorder', b'x' * 99),
                            ('version', b'0'), ('version', b'1000000000'), ('version', b'abc')]):
    save(T + f'{i}.pt', c(), extra={k: v})
save(T + 'ok.pt', c(), leave_out=['byteorder', 'version'])"
    refuses "$T/0.pt" 'byteorder is "big"'
    refuses "$T/1.pt" "byteorder is too long"
    refuses "$T/2.pt" 'version is "0"'
    refuses "$T/3.pt" 'version is "1000000000"'
    refuses "$T/4.pt" 'version is "abc"'
    convert -q "$T/ok.pt" -o "$T/ok.slm"
}
@test "PT19, PT20: a huge serialization_id; prefixes too long, or that lead elsewhere" {
    make_file "save(T + 'ok.pt', c(), extra={'.data/serialization_id': b'1' * 10**7})
for i, prefix in enumerate(['x' * 60000, '..', 'a/../b', '/a', 'c:\\\\a']):
    save(T + f'{i}.pt', c(), prefix=prefix)"
    convert -q "$T/ok.pt" -o "$T/ok.slm"
    for i in 0 1 2 3 4; do
        refuses "$T/$i.pt" "a member's name is empty, too long, or leaves the archive"
    done
}
@test "PT24: what it would run is named" {
    make_file "import os
d = c(); d['x'] = Reduced(os.system, ('touch ' + T + 'ran',))
save(T + 'm.pt', d)"
    refuses "$T/m.pt" "posix system"
    [ ! -e "$T/ran" ]
}
@test "PT36: a number as a tensor's name" {
    make_file "save(T + 'm.pt', {'model': {3: Tensor(Storage(b'1234'), (1,))}})"
    refuses "$T/m.pt" "a tensor's name is no text"
}
@test "PT53: doubles and whole numbers as weights" {
    make_file "d = c(); d['model']['norm.weight'] = Tensor(Storage(bytes(128), 'Double'), (16,))
save(T + 'm.pt', d)"
    refuses "$T/m.pt" "norm.weight in m.pt has type F64, which is not supported"
}
@test "PT55: NaN" {
    make_file "d = c(); d['model']['norm.weight'].storage.data = b'\xff' * 64
save(T + 'm.pt', d)"
    refuses "$T/m.pt" "norm.weight: element [0] is NaN"
}
@test "PT57: an optimizer's state" {
    make_file "save(T + 'm.pt', {'state': {0: {'exp_avg': Tensor(Storage(b'1234'), (1,))}},
                     'param_groups': [{'lr': 0.1}]})"
    refuses "$T/m.pt" "an optimizer's state"
}
@test "PT58: TorchScript" {
    make_file "save(T + 'm.pt', c(), extra={'constants.pkl': b'', 'code/x.py': b''})"
    refuses "$T/m.pt" "TorchScript"
}
@test "PT61: bytes before the archive" {
    make_file "save(T + 'm.pt', c())"
    (printf 'MZ'; cat "$T/m.pt") >"$T/x.pt"
    refuses "$T/x.pt" "does not begin with a zip member"
}
@test "a state dict that nothing describes; model_args that miss a size" {
    make_file "save(T + 'a.pt', {'w': Tensor(Storage(b'1234'), (1,))})
d = c(); del d['model_args']; save(T + 'b.pt', d)
d = c(); del d['model_args']['dim']; save(T + 'c.pt', d)
d = c(); d['model_args']['n_heads'] = 0; save(T + 'd.pt', d)
save(T + 'e.pt', {'model': {}})
d = c(); d['model_args']['n_heads'] = 3; save(T + 'f.pt', d)"
    refuses "$T/a.pt" "does not say which model it is"
    refuses "$T/b.pt" "no model_args"
    refuses "$T/c.pt" "model_args has no dim"
    refuses "$T/d.pt" "n_heads must be a whole number"
    refuses "$T/e.pt" "there are no tensors"
    refuses "$T/f.pt" "does not have the rows"
}
@test "a checkpoint has no tokenizer" {
    make_file "save(T + 'm.pt', c())"
    run -3 "$SLM_BIN/slm-convert" "$T/m.pt" -o "$T/m.slm"
    [[ "$output" == *"no tokenizer"* ]]
}
@test "PT63: standard input, a pipe" {
    make_file "save(T + 'm.pt', c())"
    mkfifo "$T/pipe"
    for name in /dev/stdin "$T/pipe"; do
        run -4 timeout 10 bash -c "cat '$T/m.pt' | '$SLM_BIN/slm-convert' --no-tokenizer '$name' \
            -o '$T/out.slm'"
        [[ "$output" == *"$name: is a pipe, not a file"* ]]
    done
}
@test "PT64: cut while it is read" {
    make_file "d = c(); d['model_args']['vocab_size'] = 2**21
d['model']['tok_embeddings.weight'] = Tensor(Storage(bytes(2**27)), (2**21, 16))
d['model']['output.weight'] = d['model']['tok_embeddings.weight']
save(T + 'm.pt', d)"
    run -4 python3 tests/cli/cut_while_read.py "$T/m.pt" 4096 \
        "$SLM_BIN/slm-convert" --no-tokenizer "$T/m.pt" -o "$T/out.slm"
    [ "${#lines[@]}" -eq 1 ]
    [ ! -e "$T/out.slm" ]
}
