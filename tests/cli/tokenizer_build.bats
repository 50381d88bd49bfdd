# slm-tokenizer build and export: vocabularies from anywhere into files, and back. The ids of the
# merges lists here are counted by hand in GPT-2's order: "!" is 0, the space 220, the first merge
# 256.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    TOKENIZER="${SLM_BIN:-bin}/slm-tokenizer"
    SHARED="${SLM_SHARED:-../shared}"
    JSON=evals/models/tinystories-2.6m/tokenizer.json
    T="$BATS_TEST_TMPDIR"
    printf '#version: 0.2\nh e\nhe l\nl o\nhel lo\nĠ hello\n' > "$T/merges.txt"
}

ids() { # FILE TEXT [options]
    printf '%s' "$2" | "$TOKENIZER" encode "$1" -q "${@:3}"
}

@test "--merges: bytes, merges and special tokens are numbered as GPT-2's" {
    "$TOKENIZER" build --merges "$T/merges.txt" --special '<pad>' --eos '<end>' --add-eos \
        -o "$T/v.slm" -q
    "${SLM_BIN:-bin}/slm-validate" -q "$T/v.slm"
    [ "$(ids "$T/v.slm" 'hello help hello!' --no-special)" = "259 220 257 79 260 0" ]
    [ "$(ids "$T/v.slm" '<pad>h' --control)" = "261 71 262" ]
    "$TOKENIZER" info "$T/v.slm" --json | python3 -c '
import json, sys
d = json.load(sys.stdin)
assert (d["n_tokens"], d["stop_ids"]) == (263, [262]), d'
}

@test "--merges with --vocab: the ids are the file's" {
    python3 - "$T" <<'PY'
import json, sys
order = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(0x100, 0x144)]
names = ["<end>", "hello", "hel", "he", "lo", "Ġhello"] + [chr(c) for c in order]
json.dump({name: i for i, name in enumerate(names)}, open(sys.argv[1] + "/vocab.json", "w"))
PY
    "$TOKENIZER" build --merges "$T/merges.txt" --vocab "$T/vocab.json" --eos '<end>' \
        -o "$T/v.json" -q
    [ "$(ids "$T/v.json" 'hello help<end>' --control)" = "1 226 2 85 0" ]
    run -0 "$TOKENIZER" build --merges "$T/merges.txt" --vocab "$T/vocab.json" -o "$T/w.slm"
    [[ "$output" == *'no merge makes 1 of its tokens, such as "<end>"'* ]]
    mkdir "$T/folder" && cp "$T/merges.txt" "$T/vocab.json" "$T/folder"
    [ "$(ids "$T/folder" 'hello')" = 1 ]
}

@test "GPT-2's own list gives GPT-2's ids" {
    [ -d "$SHARED/tokenizers/gpt2" ] || skip "needs shared"
    python3 - "$SHARED/tokenizers/gpt2/tokenizer.json" "$T/gpt2.txt" <<'PY'
import json, sys
merges = json.load(open(sys.argv[1], encoding="utf-8"))["model"]["merges"]
lines = (m if isinstance(m, str) else " ".join(m) for m in merges)
open(sys.argv[2], "w", encoding="utf-8").write("#version: 0.2\n" + "\n".join(lines) + "\n")
PY
    "$TOKENIZER" build --merges "$T/gpt2.txt" --eos '<|endoftext|>' -o "$T/v.bpe1" -q
    "$TOKENIZER" encode "$T/v.bpe1" --control < tests/golden/tokenizers/text.txt |
        cmp - tests/golden/tokenizers/gpt2.ids
}

@test "--bytes: 258 tokens, as .slm, payload and tokenizer.json" {
    for name in b.slm b.btok b.json; do
        "$TOKENIZER" build --bytes --add-bos -o "$T/$name" -q
        [ "$(ids "$T/$name" 'Aé')" = "256 65 195 169" ]
        [ "$(ids "$T/$name" '<eos>')" = "256 60 101 111 115 62" ]
        [ "$(ids "$T/$name" '<<eos>A<bos>' --control)" = "256 60 257 65 256" ]
    done
    [ "$(wc -c < "$T/b.btok")" -eq 16 ]
    [ "$(head -c 4 "$T/b.btok")" = BTOK ]
    "${SLM_BIN:-bin}/slm-validate" -q "$T/b.slm"
}

@test "every form of a vocabulary gives the same ids, and equal inputs equal bytes" {
    text=tests/golden/tokenizers/text.txt
    "$TOKENIZER" encode "$JSON" --control < "$text" > "$T/ids"
    source="$JSON"
    for name in a.slm b.bpe1 c.json d.slm e.json; do
        "$TOKENIZER" build "$source" -o "$T/$name" -q
        "$TOKENIZER" encode "$T/$name" --control -q < "$text" > "$T/ids2"
        cmp "$T/ids" "$T/ids2"
        source="$T/$name"
    done
    cmp "$T/c.json" "$T/e.json"
    "$TOKENIZER" build "$JSON" -o "$T/a2.slm" -q
    cmp "$T/a.slm" "$T/a2.slm"
    "$TOKENIZER" build evals/models/tinystories-2.6m -o "$T/a3.slm" -q
    cmp "$T/a.slm" "$T/a3.slm"
}

@test "export: each kind of tokenizer comes back as it was" {
    [ -d "$SHARED/tokenizers" ] || skip "needs shared"
    sources=("$SHARED/tokenizers/llama2" "$SHARED/tokenizers/qwen3"
        "$SHARED/models/TinyStories-656K" "$SHARED/models/stories260K/stories260K.gguf"
        "$SHARED/tokenizers/vectors/ggml-vocab-phi-3.gguf")
    for source in "${sources[@]}"; do
        mkdir "$T/out"
        "$TOKENIZER" export "$source" -o "$T/out/tokenizer.json" -q \
            --config "$T/out/tokenizer_config.json"
        "$TOKENIZER" encode "$source" -q --control < tests/golden/tokenizers/text.txt > "$T/ids"
        "$TOKENIZER" encode "$T/out" -q --control < tests/golden/tokenizers/text.txt |
            cmp - "$T/ids"
        rm "$T/out"/* && rmdir "$T/out"
    done
}

@test "a trained or built vocabulary serves a checkpoint" {
    dir="$SHARED/models/stories260K"
    [ -d "$dir" ] || skip "needs shared"
    "$TOKENIZER" build "$dir/tok512.bin" -o "$T/v.slm" -q
    for file in "$dir/tok512.bin" "$T/v.slm"; do
        "${SLM_BIN:-bin}/slm-convert" "$dir/stories260K.bin" --tokenizer "$file" -o "$T/m.slm" \
            -q --force
        "${SLM_BIN:-bin}/slm-run" "$T/m.slm" -p "Once upon" -n 8 --temp 0 -q > "$T/${file##*/}.out"
    done
    cmp "$T/tok512.bin.out" "$T/v.slm.out"
}

@test "reports as JSON" {
    "$TOKENIZER" build --merges "$T/merges.txt" -o "$T/v.slm" --json |
        python3 tests/lib/json_schema.py schemas/tokenizer-build.schema.json
    "$TOKENIZER" export "$JSON" -o "$T/e.json" --json |
        python3 tests/lib/json_schema.py schemas/tokenizer-build.schema.json
    run -3 --separate-stderr "$TOKENIZER" export tests/golden/tokenizers/text.txt -o "$T/x" --json
    echo "$output" | python3 tests/lib/json_schema.py schemas/failure.schema.json
}

@test "merges lists that are none: exit 3, and the line" {
    refuse() { # WHAT LIST
        printf "$2" > "$T/bad.txt"
        run -3 "$TOKENIZER" build --merges "$T/bad.txt" -o "$T/bad.slm"
        [[ "$output" == *"$1"* ]] || { echo "$output"; return 1; }
        [ ! -e "$T/bad.slm" ]
    }
    refuse "line 2 is not two tokens" 'h e\nhe\n'
    refuse "line 1 is not two tokens" 'h e l\n'
    refuse "line 1 is not two tokens" ' h e\n'
    refuse "line 1 is not two tokens" 'h  e\n'
    refuse "line 1 is not two tokens" 'h e \n'
    refuse "line 1 is not two tokens" 'h \xc5\xff\n'
    refuse "line 1 is not two tokens" 'h \x00\n'
    refuse "line 1 is not two tokens" 'h \xe2\x96\x81\n'
    refuse "line 1 is not two tokens" '\xef\xbb\xbfh e\n'
    refuse 'line 2 names "#version:"' 'h e\n#version: 0.2\n'
    refuse "line 2 is empty" 'h e\n\nhe l\n'
    refuse 'line 1 names "he"' 'he l\n'
    long=$(head -c 40000 /dev/zero | tr '\0' a)
    echo "$long $long" > "$T/l"
    run -3 "$TOKENIZER" build --merges "$T/l" -o "$T/bad.slm"
    [[ "$output" == *"longer than 65535 bytes"* ]]
}

@test "merges lists that are odd: carriage returns, no last line feed, nothing, repetitions" {
    printf 'h e\r\nhe l' > "$T/odd.txt"
    "$TOKENIZER" build --merges "$T/odd.txt" -o "$T/v.slm" -q
    [ "$(ids "$T/v.slm" hel)" = 257 ]
    : > "$T/odd.txt"
    "$TOKENIZER" build --merges "$T/odd.txt" -o "$T/v.slm" -q --force
    [ "$(ids "$T/v.slm" he)" = "71 68" ]
    printf 'h e\nl o\nh e\n' > "$T/odd.txt"
    run -0 "$TOKENIZER" build --merges "$T/odd.txt" -o "$T/v.slm" --force
    [[ "$output" == *"1 merges repeat an earlier one"* ]]
    [ "$(ids "$T/v.slm" helo)" = "256 257" ]
}

@test "a vocabulary that does not fit the list: exit 3" {
    refuse() { # WHAT VOCAB
        echo "$2" > "$T/vocab.json"
        run -3 "$TOKENIZER" build --merges "$T/merges.txt" --vocab "$T/vocab.json" -o "$T/v.slm"
        [[ "$output" == *"$1"* ]] || { echo "$output"; return 1; }
    }
    refuse 'line 2 names "h", which is not in' '{"a": 0}'
    refuse 'line 2 makes "he", which is not in' '{"h": 0, "e": 1}'
    refuse 'h must be a whole number' '{"h": -1}'
    refuse 'h must be a whole number' '{"h": "0"}'
    refuse 'h must be a whole number' '{"h": 99999999999}'
    refuse 'two tokens have the id 1' \
        '{"h":1,"e":1,"he":2,"l":3,"hel":4,"o":5,"lo":6,"hello":7,"Ġ":8,"Ġhello":9}'
    refuse 'vocab.json' '[1]'
    refuse 'vocab.json' ''
    run -4 "$TOKENIZER" build --merges "$T/merges.txt" --vocab "$T/none.json" -o "$T/v.slm"
}

@test "special tokens that cannot be: exit 2 or 3" {
    build() { "$TOKENIZER" build --merges "$T/merges.txt" -o "$T/v.slm" "$@"; }
    run -2 build --special ''
    run -2 build --special "$(head -c 257 /dev/zero | tr '\0' a)"
    run -2 build --special $'\xff'
    run -2 build --add-bos
    run -2 build --add-eos
    run -2 build --pre bert
    [[ "$output" == *"gpt2, llama3, qwen2, digits, none"* ]]
    run -2 build --pre llama3 --prefix-space
    run -3 build --special hello # a merge makes it
    [[ "$output" == *'line 5 makes "hello", which as a control token no text becomes'* ]]
    run -3 build --special h
    [[ "$output" == *'line 2 names "h"'* ]]
}

@test "misuse: exit 2, and nothing is replaced unasked" {
    run -2 "$TOKENIZER" build "$JSON"
    run -2 "$TOKENIZER" build -o "$T/v.slm"
    run -2 "$TOKENIZER" build "$JSON" --bytes -o "$T/v.slm"
    run -2 "$TOKENIZER" build "$JSON" --pre gpt2 -o "$T/v.slm"
    run -2 "$TOKENIZER" build "$JSON" --add-bos -o "$T/v.slm"
    run -2 "$TOKENIZER" build --bytes --vocab x -o "$T/v.slm"
    run -2 "$TOKENIZER" build --bytes --to gguf -o "$T/v.slm"
    run -2 "$TOKENIZER" export "$JSON"
    echo mine > "$T/v.slm"
    run -2 "$TOKENIZER" build --bytes -o "$T/v.slm"
    [ "$(cat "$T/v.slm")" = mine ]
    run -2 "$TOKENIZER" export "$JSON" -o "$T/new.json" --config "$T/v.slm"
    [ ! -e "$T/new.json" ]
    cp "$T/merges.txt" "$T/keep.txt"
    run -2 "$TOKENIZER" build --merges "$T/keep.txt" -o "$T/keep.txt" --force
    cmp "$T/merges.txt" "$T/keep.txt"
    mkdir "$T/empty"
    run -3 "$TOKENIZER" build "$T/empty" -o "$T/w.slm"
    [[ "$output" == *"holds no tokenizer.json"* ]]
}

@test "a million merges are built in seconds, and found [TK04]" {
    python3 - "$T/big.json" <<'PY'
import itertools, json, sys
letters = [chr(c) for c in range(33, 127)]
pairs = list(itertools.product(letters, letters))
triples = itertools.product([a + b for a, b in pairs], letters)
fours = itertools.product([a + b for a, b in pairs], repeat=2)
merges = list(itertools.islice(itertools.chain(pairs, triples, fours), 10**6))
vocab = {t: i for i, t in enumerate(letters + [a + b for a, b in merges])}
byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
json.dump({"version": "1.0", "added_tokens": [], "pre_tokenizer": byte_level, "decoder": byte_level,
           "model": {"type": "BPE", "vocab": vocab, "merges": merges}}, open(sys.argv[1], "w"))
PY
    timeout 20 "$TOKENIZER" build "$T/big.json" -o "$T/big.bpe1" -q
    # by hand: two letters are 94 + 94 * first + second, three 94 + 94^2 + 94 * (the two) + third
    [ "$(printf 'ab abc' | "$TOKENIZER" encode "$T/big.bpe1")" = "6175 \
$((94 + 94 * 94 + 94 * (64 * 94 + 65) + 66))" ]
}
