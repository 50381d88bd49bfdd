# slm-tokenizer encode's forms of output, offsets and stats. Offsets are counted by hand on small
# vocabularies made here.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    TOKENIZER="${SLM_BIN:-bin}/slm-tokenizer"
    JSON=evals/models/tinystories-2.6m/tokenizer.json
    T="$BATS_TEST_TMPDIR"
    printf 'h e\nhe l\nl o\nhel lo\n' > "$T/merges.txt"
    "$TOKENIZER" build --merges "$T/merges.txt" --bos '<s>' --eos '</s>' --add-bos --add-eos \
        --nfc -o "$T/v.slm" -q
}

# A vocabulary of characters. $1: steps, $2: added tokens, $3: model settings
characters() {
    python3 - "$T/c.json" "$1" "$2" "$3" <<'PY'
import json, sys
path, steps, added, model = sys.argv[1:]
tokens = ["<unk>", "a", "b", "▁", "▁a", "<m>"] + [f"<0x{i:02X}>" for i in range(256)]
document = {"version": "1.0", "added_tokens": json.loads(added), **json.loads(steps),
            "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)},
                      "merges": ["▁ a"], **json.loads(model)}}
json.dump(document, open(path, "w", encoding="utf-8"))
PY
}

SPM='{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}}'

offsets() { # FILE TEXT [options]: "BEGIN-END:ID" of each token
    printf "$2" | "$TOKENIZER" encode "$1" -q --offsets --ids "${@:3}" |
        awk '{ printf "%s%s-%s:%s", (NR > 1 ? " " : ""), $1, $2, $3 }'
}

@test "ids as text, with --ids, as binary, as JSON: the same" {
    text=tests/golden/tokenizers/text.txt
    "$TOKENIZER" encode "$JSON" --control --no-special < "$text" > "$T/ids"
    cmp "$T/ids" tests/golden/tokenizers/demo.ids
    "$TOKENIZER" encode "$JSON" "$text" --control --no-special --ids | cmp - "$T/ids"
    "$TOKENIZER" encode "$JSON" "$text" --control --no-special --binary > "$T/i32"
    "$TOKENIZER" encode "$JSON" "$text" --control --no-special --offsets --json > "$T/json"
    python3 tests/lib/json_schema.py schemas/tokenizer-encode.schema.json < "$T/json"
    python3 - "$T" "$text" <<'PY'
import json, struct, sys
folder, text = sys.argv[1], open(sys.argv[2], "rb").read()
ids = [int(x) for x in open(folder + "/ids").read().split()]
raw = open(folder + "/i32", "rb").read()
assert list(struct.unpack(f"<{len(ids)}i", raw)) == ids
document = json.load(open(folder + "/json"))
assert document["ids"] == ids and document["n_ids"] == len(ids)
assert document["bytes"] == len(text)
assert document["offsets"][0][0] == 0 and document["offsets"][-1][1] == len(text)
assert all(a[1] == b[0] for a, b in zip(document["offsets"], document["offsets"][1:]))
PY
    "$TOKENIZER" decode "$JSON" "$T/i32" --binary --control | cmp - "$text"
    "$TOKENIZER" decode "$JSON" "$T/ids" --ids --control | cmp - "$text"
}

@test "offsets of byte-level tokens: BOS and EOS are empty, NFC gives all of what it changed" {
    [ "$(offsets "$T/v.slm" 'hello help')" = \
        "0-0:260 0-5:259 5-6:220 6-9:257 9-10:79 10-10:261" ]
    [ "$(offsets "$T/v.slm" 'e\xcc\x81l' --no-special)" = "0-3:127 0-3:102 3-4:75" ]
    [ "$(offsets "$T/v.slm" 'h</s>e' --no-special --control)" = "0-1:71 1-5:261 5-6:68" ]
    [ "$(offsets "$T/v.slm" '')" = "0-0:260 0-0:261" ]
    printf 'a"\n\xff' | "$TOKENIZER" encode "$T/v.slm" --offsets --no-special > "$T/out"
    printf '0\t1\t64\t"a"\n1\t2\t1\t"\\""\n2\t3\t198\t"\\n"\n3\t4\t187\t"\\xff"\n' | cmp - "$T/out"
}

@test "offsets of marked spaces: the prefix is empty, a space is one byte" {
    characters "$SPM" '[]' '{"byte_fallback": true}'
    [ "$(offsets "$T/c.json" 'a a b')" = "0-1:4 1-3:4 3-4:3 4-5:2" ]
    [ "$(offsets "$T/c.json" ' b')" = "0-0:3 0-1:3 1-2:2" ]
    [ "$(offsets "$T/c.json" '\xc3\xa9')" = "0-0:3 0-1:201 1-2:175" ]
}

@test "offsets of unknown and dropped characters" {
    characters '{}' '[]' '{"unk_token": "<unk>", "fuse_unk": true}'
    [ "$(offsets "$T/c.json" 'a\xe6\x97\xa5\xe6\x9c\xacb')" = "0-1:1 1-7:0 7-8:2" ]
    characters '{}' '[]' '{"unk_token": "<unk>"}'
    [ "$(offsets "$T/c.json" 'a\xe6\x97\xa5\xe6\x9c\xacb')" = "0-1:1 1-4:0 4-7:0 7-8:2" ]
    characters '{}' '[]' '{}'
    [ "$(offsets "$T/c.json" 'a\xe6\x97\xa5bcb')" = "0-1:1 4-5:2 6-7:2" ]
    characters "$SPM" '[]' '{}' # what is dropped does not keep its neighbours from merging
    [ "$(offsets "$T/c.json" 'b cca')" = "0-0:3 0-1:2 1-5:4" ]
    [ "$(offsets "$T/c.json" '\xe6\x97\xa5a')" = "3-4:4" ]
}

@test "offsets of added tokens: with the white space that they take" {
    added='[{"id": 5, "content": "<m>", "special": false, "normalized": false,
        "single_word": false, "lstrip": true, "rstrip": true}]'
    characters '{}' "$added" '{}'
    [ "$(offsets "$T/c.json" 'a <m>  b<m>')" = "0-1:1 1-7:5 7-8:2 8-11:5" ]
    characters "$SPM" "$added" '{"byte_fallback": true}'
    [ "$(offsets "$T/c.json" 'a <m>  b')" = "0-1:4 1-7:5 7-7:3 7-8:2" ]
}

@test "offsets cover every byte, whatever the bytes" {
    head -c 20000 /dev/urandom > "$T/bytes"
    for tokenizer in "$JSON" "$T/v.slm"; do
        "$TOKENIZER" encode "$tokenizer" "$T/bytes" --offsets --ids --no-special |
            awk '$1 > end { exit 1 } { end = $2 } END { exit end != 20000 }'
    done
}

@test "stats: figures counted otherwise, for people and as JSON" {
    printf 'hello hello\nhelp \xc3\xa9!' > "$T/text"
    "$TOKENIZER" stats "$T/v.slm" "$T/text" --json --repeat 3 > "$T/json"
    python3 tests/lib/json_schema.py schemas/tokenizer-stats.schema.json < "$T/json"
    python3 - "$T/json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
# hello, space, hello, line feed, hel, p, space, the two bytes of e acute, !
want = {"bytes": 20, "characters": 19, "words": 4, "tokens": 10, "byte_tokens": 2,
        "unknown_tokens": 0, "control_tokens": 0, "vocabulary": 262, "vocabulary_used": 8}
assert {k: d[k] for k in want} == want, d
assert d["bytes_per_token"] == 2 and d["tokens_per_word"] == 2.5
assert [t["id"] for t in d["longest"][:2]] == [259, 257] and d["longest"][0]["text"] == "hello"
PY
    "$TOKENIZER" stats "$T/v.slm" < "$T/text" | grep -q "10: 2.000 bytes a token, 2.500 tokens"
    "$TOKENIZER" stats "$T/v.slm" --json < /dev/null |
        python3 tests/lib/json_schema.py schemas/tokenizer-stats.schema.json
}

@test "info as JSON has a schema" {
    "$TOKENIZER" info "$JSON" --json |
        python3 tests/lib/json_schema.py schemas/tokenizer-info.schema.json
}

@test "misuse and missing files" {
    run -2 "$TOKENIZER" encode "$JSON" --binary --json < /dev/null
    run -2 "$TOKENIZER" encode "$JSON" a b
    run -2 "$TOKENIZER" stats
    run -2 "$TOKENIZER" stats "$JSON" --repeat 0
    run -4 "$TOKENIZER" encode "$JSON" "$T/none"
    run -4 "$TOKENIZER" stats "$JSON" "$T/none"
    printf 'abc' > "$T/three"
    run -3 "$TOKENIZER" decode "$JSON" "$T/three" --binary
    [[ "$output" == *"three: 3 bytes"* ]]
    printf '\xff\xff\xff\xff' > "$T/minus"
    run -3 "$TOKENIZER" decode "$JSON" "$T/minus" --binary
    run -3 --separate-stderr "$TOKENIZER" stats tests/golden/tokenizers/text.txt --json
    echo "$output" | python3 tests/lib/json_schema.py schemas/failure.schema.json
}
