# slm-convert: llama2.c's .bin files, versions 0 to 2 (L2 items of the project's checklist).

bats_require_minimum_version 1.5.0

setup() {
    SLM_BIN="$(realpath "${SLM_BIN:-bin}")"
    SLM_SHARED="${SLM_SHARED:-../shared}"
    T="$BATS_TEST_TMPDIR"
    export PYTHONPATH=tests/cli PYTHONDONTWRITEBYTECODE=1
}

make_file() { # Python statements; T is the folder, l() writes m.bin
    python3 -c "
from torch_cases import *
T = '$T/'
def l(*a, **k):
    llama2c(T + 'm.bin', *a, **k)
def at(offset, data):
    def edit(b):
        b[offset:offset + len(data)] = data
    return edit
$1"
}

convert() {
    "$SLM_BIN/slm-convert" --no-tokenizer "$@"
}

content() {
    convert --force -q "$1" -o "$T/c.slm"
    "$SLM_BIN/slm-validate" --json "$T/c.slm" | grep '"content_checksum"'
}

refuses() { # Python statements, MESSAGE
    make_file "$1"
    run -3 convert --format llama2c "$T/m.bin" -o "$T/out.slm"
    [[ "$output" == *"$2"* ]] || { echo "$1: $output, not: $2"; false; }
    [ ! -e "$T/out.slm" ]
}

warns() {
    make_file "$1"
    run -0 convert --force "$T/m.bin" -o "$T/warned.slm"
    [[ "$output" == *"warning: "*"$2"* ]] || { echo "$output"; false; }
}

@test "versions 0, 1 and 2 of one model" {
    make_file "for v in 0, 1, 2: llama2c(T + f'{v}.bin', v)"
    [ "$(content "$T/0.bin")" = "$(content "$T/1.bin")" ]
    [ "$(content "$T/0.bin")" = "$(content "$T/2.bin")" ]
    make_file "for v in 0, 1, 2: llama2c(T + f'{v}.bin', v, separate=True)"
    [ "$(content "$T/0.bin")" = "$(content "$T/1.bin")" ]
    [ "$(content "$T/0.bin")" = "$(content "$T/2.bin")" ]
}

stories() { # FILE
    S="$SLM_SHARED/models/stories260K"
    [ -d "$S" ] || skip "needs shared/models/stories260K"
    convert -q "$S/$1" -o "$T/m.slm"
    "$SLM_BIN/slm-run" "$T/m.slm" --kv f32 --ids "$S/tokens.i32" --logits-out "$T/logits.f32"
    python3 tests/golden/compare_logits.py "$T/logits.f32" "$S/logits.f32" 512 2e-4
}
@test "stories260K, version 0: logits of another engine" { stories stories260K.bin; }
@test "stories260K, version 1: logits of another engine" { stories stories260K_v1.bin; }

@test "L259: the smallest model" {
    make_file "l(dim=2, hidden_dim=1, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=1,
                max_seq_len=1)"
    convert -q "$T/m.bin" -o "$T/out.slm"
    "$SLM_BIN/slm-validate" "$T/out.slm"
}
@test "L201: too short" {
    refuses "l(edit=lambda b: b[:1])" "shorter than llama2.c's header"
    refuses "l(edit=lambda b: b[:27])" "shorter than llama2.c's header"
    refuses "l(edit=lambda b: b[:28])" "has 28 bytes"
    refuses "open(T + 'm.bin', 'w')" "shorter than llama2.c's header"
}
@test "L202-L214: sizes out of range" {
    local offset=0 name value
    for name in dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len; do
        for value in 0 -1 2147483647 -2147483648; do
            [ "$name $value" != "vocab_size -1" ] || continue
            refuses "l(edit=at($offset, struct.pack('<i', $value)))" "offset $offset: $name is"
        done
        offset=$((offset + 4))
    done
}
@test "L205-L207: heads that do not fit" {
    refuses "l(edit=at(12, struct.pack('<i', 3)))" "not n_heads 3 times an even number"
    refuses "l(edit=at(12, struct.pack('<i', 16)))" "not n_heads 16 times an even number"
    refuses "l(edit=at(16, struct.pack('<i', 3)))" "n_kv_heads 3 does not divide"
}
@test "L210, L211, L218: what is missing or too much is named" {
    refuses "l(edit=at(20, struct.pack('<i', -20)))" "there is no output matrix"
    refuses "l(separate=True, edit=at(20, struct.pack('<i', 20)))" "there is an output matrix"
    refuses "l(edit=lambda b: b[:-4 * 8 * 4])" "two tables for rope are missing"
}
@test "L216, L217: every other length" {
    for v in 0 1 2; do
        for n in 1 4 400; do
            refuses "l($v, edit=lambda b: b[:-$n])" "the header of version $v implies"
            refuses "l($v, edit=lambda b: b + b'x' * $n)" "the header of version $v implies"
        done
    done
}
@test "L219: rope tables of another theta" {
    warns "l(edit=lambda b: at(len(b) - 4 * 8 * 4 + 4 * 3, floats([0.5]))(b))" \
        "are not those of theta 10000"
}
@test "L220, L222: zeros, a big-endian header" {
    refuses "l(edit=lambda b: bytes(len(b)))" "dim is 0"
    refuses "l(edit=at(0, struct.pack('>7i', 16, 24, 2, 4, 2, 20, 8)))" "dim is 268435456"
}
@test "L221: no guess without the exact length" {
    make_file "l(edit=lambda b: b + b'x')"
    run -3 convert "$T/m.bin" -o "$T/out.slm"
    [[ "$output" == *"is no PyTorch checkpoint"* ]]
}
@test "L223-L228: headers of versions 1 and 2" {
    refuses "l(1, edit=at(4, struct.pack('<i', 0)))" "version 0"
    refuses "l(1, edit=at(4, struct.pack('<i', 3)))" "version 3"
    refuses "l(1, edit=at(4, struct.pack('<i', -1)))" "version -1"
    refuses "l(1, edit=at(0, b'ak42'))" "big-endian"
    refuses "l(1, edit=lambda b: b[:255])" "shorter than"
    warns "l(1, edit=at(99, b'x'))" "padding is not zero"
    refuses "l(1, edit=at(36, b'\2'))" "shared output is 2"
    refuses "l(1, edit=at(28, struct.pack('<i', -20)))" "vocab_size is -20"
}
@test "L229: the data of version 0 behind a header of version 1" {
    warns "l(1, edit=at(256, bytes(128)))" "near zero"
}
@test "L230, L231: group sizes" {
    for g in 0 -1 3 5 16 2147483647; do
        refuses "l(2, edit=at(37, struct.pack('<i', $g)))" "group_size $g"
    done
}
@test "L233: scales" {
    for x in nan inf -1; do
        refuses "l(2, edit=lambda b: b.__setitem__(slice(-4, None), floats([float('$x')])))" \
            "the scale of group"
    done
}
@test "L234: a quantized -128 is -128" {
    # the last weight of the last matrix: in version 2 a byte before the scales
    make_file "llama2c(T + '1.bin', 1, edit=lambda b: b.__setitem__(slice(-4, None), floats([-1])))
llama2c(T + '2.bin', 2, edit=lambda b: b.__setitem__(len(b) - 4 * 16 * 24 // 8 - 1, 128))"
    [ "$(content "$T/1.bin")" = "$(content "$T/2.bin")" ]
}
@test "L236: version 1 opened as 2, and reverse" {
    refuses "l(1, edit=lambda b: at(37, struct.pack('<i', 8))(b) or at(4, b'\2')(b))" \
        "length of the other version"
}
@test "L237: NaN in a norm, infinite embedding" {
    refuses "l(1, edit=at(256, floats([float('nan')])))" "is NaN"
    refuses "l(0, edit=at(28, floats([float('inf')])))" "is infinite"
}
@test "L238: the largest weight is kept, and not rounded to infinity" {
    make_file "l(0, edit=at(28, floats([3.4e38])))"
    convert -q "$T/m.bin" -o "$T/out.slm"
    run -3 convert "$T/m.bin" -o "$T/half.slm" --dtype f16
    [[ "$output" == *"element [0, 0] is 3.4e+38, too large for F16"* ]]
    [ ! -e "$T/half.slm" ]
}
@test "L239: no tokenizer" {
    make_file "l()"
    run -3 "$SLM_BIN/slm-convert" "$T/m.bin" -o "$T/out.slm"
    [[ "$output" == *"there is no tokenizer in it; --tokenizer FILE"* ]]
    run -4 "$SLM_BIN/slm-convert" "$T/m.bin" --tokenizer "$T/tokenizer.bin" -o "$T/out.slm"
    [[ "$output" == *"tokenizer.bin: cannot be opened"* ]]
    [ ! -e "$T/out.slm" ]
}
@test "L252: a .pt given as llama2.c's" {
    refuses "save(T + 'm.bin', checkpoint())" "dim"
}
@test "L262: output over the input" {
    make_file "l()"
    cp "$T/m.bin" "$T/copy"
    run ! convert --force "$T/m.bin" -o "$T/m.bin"
    cmp "$T/m.bin" "$T/copy"
}
@test "L255: cut while it is read" {
    make_file "
size = 28 + 4 * (2**19 * 64 + 64 + 64 + 4 * 64 * 64 + 3 * 64 * 8 + 64 + 2 * 2 * 32)
open(T + 'm.bin', 'wb').write(struct.pack('<7i', 64, 8, 1, 1, 1, 2**19, 2))
import os
os.truncate(T + 'm.bin', size)"
    run -4 python3 tests/cli/cut_while_read.py "$T/m.bin" 4096 \
        "$SLM_BIN/slm-convert" --no-tokenizer -q "$T/m.bin" -o "$T/out.slm"
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"m.bin: "* ]]
    [ ! -e "$T/out.slm" ]
    [ -z "$(find "$T" -name '.out*')" ]
}
@test "L256: names with blanks, quotes, a dash, bytes that are no text" {
    make_file "l()"
    cd "$T"
    local name
    for name in "a b" "a'b\"" ./-x $'\xff\xfe'; do
        cp m.bin "$name.bin"
        convert -q "$name.bin" -o "$name.slm"
        cmp <("$SLM_BIN/slm-validate" "$name.slm" | grep checksum) \
            <(convert -q m.bin -o m.slm --force && "$SLM_BIN/slm-validate" m.slm | grep checksum)
    done
}
@test "L257, L258: rows of 172 and of 288" {
    make_file "l(dim=64, hidden_dim=172, n_heads=8, n_kv_heads=4)"
    convert -q "$T/m.bin" -o "$T/a.slm"
    run -0 "$SLM_BIN/slm-quantize" "$T/a.slm" "$T/q.slm" --type Q8_0
    [[ "$output" == *"ffn_down.weight' stays F16: its rows of 172 are not a multiple of 32"* ]]
    "$SLM_BIN/slm-validate" -q "$T/q.slm"
    make_file "l(dim=288, hidden_dim=32, n_heads=6, n_kv_heads=6)"
    convert -q "$T/m.bin" -o "$T/b.slm"
    "$SLM_BIN/slm-quantize" -q "$T/b.slm" "$T/r.slm" --type Q4_K
    "$SLM_BIN/slm-validate" -q "$T/r.slm"
}
@test "L260, L261: every byte of the headers flipped, every field set to extremes" {
    make_file "
import subprocess
fields = {0: range(0, 28, 4), 1: range(0, 36, 4), 2: [*range(0, 36, 4), 37]}
values = [0x7fffffff, 0x80000000, 0xffffffff, 0, 1]
failed = runs = 0
for version in 0, 1, 2:
    llama2c(T + 'm.bin', version)
    good = open(T + 'm.bin', 'rb').read()
    bad = [(i, bytes([good[i] ^ 0xff])) for i in range(28 if version == 0 else 41)]
    bad += [(i, struct.pack('<I', v)) for i in fields[version] for v in values]
    for where, what in bad:
        data = good[:where] + what + good[where + len(what):]
        open(T + 'm.bin', 'wb').write(data)
        r = subprocess.run(['$SLM_BIN/slm-convert', '--no-tokenizer', '--format', 'llama2c', '-q',
                            '--force', T + 'm.bin', '-o', T + 'o.slm'], capture_output=True,
                           timeout=20)
        lines = r.stderr.decode().splitlines()
        good_end = r.returncode == 3 and len(lines) == 1 and 'm.bin' in lines[0]
        runs += 1
        if not good_end and not (r.returncode == 0 and not lines):
            failed += 1
            print(version, where, what, r.returncode, lines)
assert runs == 240 and not failed, (runs, failed)"
    [ -z "$(find "$T" -name '.o.slm*')" ]
}
