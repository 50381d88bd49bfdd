#!/usr/bin/env python3
"""gguf_cases.py CASE OUT.gguf: a small GGUF model for tests, written from the format's description.

CASE is a tensor type (f32 f16 bf16 q8_0 q4_0 q4_k q5_k q6_k: random blocks with finite scales) or
the name of something that is wrong, see CASES. Shapes: width 256, 2 layers, 4/2 heads, d_ff 512.
"""
import random
import struct
import sys

TYPES = {"f32": (0, 1, 4), "f16": (1, 1, 2), "bf16": (30, 1, 2), "q4_0": (2, 32, 18),
         "q5_0": (6, 32, 22), "q8_0": (8, 32, 34), "q2_k": (10, 256, 84), "q4_k": (12, 256, 144),
         "q5_k": (13, 256, 176), "q6_k": (14, 256, 210), "iq4_nl": (20, 32, 18)}
# where the halves of a block lie: they must be finite
HALVES = {"f16": [0], "bf16": [], "q4_0": [0], "q5_0": [0], "q8_0": [0], "q2_k": [80, 82],
          "q4_k": [0, 2], "q5_k": [0, 2], "q6_k": [208], "iq4_nl": [0], "f32": []}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
WIDTH, LAYERS, HEADS, KV, FF, VOCAB = 256, 2, 4, 2, 512, 290


def blocks(rng, kind, n):
    _, elements, size = TYPES[kind]
    out = bytearray()
    for _ in range(n // elements):
        if kind == "f32":
            out += struct.pack("<f", rng.uniform(-0.1, 0.1))
            continue
        block = bytearray(rng.randbytes(size))
        for at in HALVES[kind]:
            block[at:at + 2] = struct.pack("<e", rng.uniform(-0.01, 0.01))
        if kind == "bf16":
            block = bytearray(struct.pack("<f", rng.uniform(-0.1, 0.1))[2:])
        out += block
    return bytes(out)


def text(s):
    s = s.encode()
    return struct.pack("<Q", len(s)) + s


def value(kind, v):
    if kind == STRING:
        return text(v)
    if kind == ARRAY:
        element, items = v
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, x) for x in items)
    return struct.pack("<" + {U32: "I", I32: "i", F32: "f", BOOL: "?"}[kind], v)


class Model:
    def __init__(self, kind, arch="llama"):
        rng = random.Random(7)
        self.pairs = {"general.architecture": (STRING, arch)}
        for key, number in {"context_length": 128, "embedding_length": WIDTH,
                            "block_count": LAYERS, "feed_forward_length": FF,
                            "attention.head_count": HEADS,
                            "attention.head_count_kv": KV}.items():
            self.pairs[f"{arch}.{key}"] = (U32, number)
        self.pairs[f"{arch}.attention.layer_norm_rms_epsilon"] = (F32, 1e-5)
        self.pairs["tokenizer.ggml.model"] = (STRING, "llama")
        words = ["<unk>", "<s>", "</s>"] + [chr(97 + i) for i in range(26)]
        words += ["\u2581", "th", "\u2581th", "the", "\u2581the"]
        words += [f"<0x{i:02X}>" for i in range(VOCAB - len(words))]
        kinds = [2, 3, 3] + [6 if w.startswith("<0x") else 1 for w in words[3:]]
        self.pairs["tokenizer.ggml.tokens"] = (ARRAY, (STRING, words))
        self.pairs["tokenizer.ggml.scores"] = (ARRAY, (F32, [float(-i) for i in range(VOCAB)]))
        self.pairs["tokenizer.ggml.token_type"] = (ARRAY, (I32, kinds))
        self.pairs["tokenizer.ggml.bos_token_id"] = (U32, 1)
        self.pairs["tokenizer.ggml.eos_token_id"] = (U32, 2)
        head = WIDTH // HEADS
        self.tensors = {}

        def add(name, dims, k):
            n = 1
            for d in dims:
                n *= d
            self.tensors[name] = (k, dims, blocks(rng, k, n))

        add("token_embd.weight", (WIDTH, VOCAB), kind)
        for i in range(LAYERS):
            b = f"blk.{i}."
            add(b + "attn_norm.weight", (WIDTH,), "f32")
            add(b + "attn_q.weight", (WIDTH, WIDTH), kind)
            add(b + "attn_k.weight", (WIDTH, KV * head), kind)
            add(b + "attn_v.weight", (WIDTH, KV * head), kind)
            add(b + "attn_output.weight", (WIDTH, WIDTH), kind)
            add(b + "ffn_norm.weight", (WIDTH,), "f32")
            add(b + "ffn_gate.weight", (WIDTH, FF), kind)
            add(b + "ffn_up.weight", (WIDTH, FF), kind)
            add(b + "ffn_down.weight", (FF, WIDTH), kind)
        add("output_norm.weight", (WIDTH,), "f32")
        self.add = add

    def write(self, path, names=None, extra=None):
        pairs = {**self.pairs, **(extra or {})}
        chosen = names if names is not None else list(self.tensors)
        out = b"GGUF" + struct.pack("<IQQ", 3, len(chosen), len(pairs))
        for key, (kind, v) in pairs.items():
            out += text(key) + struct.pack("<I", kind) + value(kind, v)
        offset, data = 0, b""
        for name in chosen:
            kind, dims, body = self.tensors[name]
            out += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims,
                                            TYPES[kind][0], len(data))
            data += body + bytes(-len(body) % 32)
        with open(path, "wb") as f:
            f.write(out + bytes(-len(out) % 32) + data)


def key(kind, v, name="llama."):
    return lambda m, ending: m.pairs.__setitem__(name + ending, (kind, v))


def set_key(name, kind, v):
    return lambda m: m.pairs.__setitem__(name, (kind, v))


def drop_key(name):
    return lambda m: m.pairs.pop(name)


def poison(name, at, half):
    def change(m):
        kind, dims, body = m.tensors[name]
        body = bytearray(body)
        body[at:at + len(half)] = half
        m.tensors[name] = (kind, dims, bytes(body))
    return change


def replace(name, dims, kind="q8_0"):
    return lambda m: m.add(name, dims, kind)


def scaling(kind, factor):
    return lambda m: (key(STRING, kind)(m, "rope.scaling.type"),
                      key(F32, factor)(m, "rope.scaling.factor"))


def merges(lines, pre="gpt-2"):
    """A byte-level vocabulary with these merges."""
    def change(m):
        letters = [i for i in range(256) if 0x21 <= i <= 0x7e or (i >= 0xa1 and i != 0xad)]
        words = [chr(i) for i in letters] + [chr(256 + i) for i in range(256 - len(letters))]
        words += ["th", "the"] + [f"<{i}>" for i in range(VOCAB - 258)]
        m.pairs["tokenizer.ggml.model"] = (STRING, "gpt2")
        m.pairs["tokenizer.ggml.pre"] = (STRING, pre)
        m.pairs["tokenizer.ggml.tokens"] = (ARRAY, (STRING, words))
        m.pairs["tokenizer.ggml.token_type"] = (ARRAY, (I32, [1] * VOCAB))
        m.pairs["tokenizer.ggml.merges"] = (ARRAY, (STRING, lines))
        m.pairs.pop("tokenizer.ggml.scores")
    return change


def token(word):
    def change(m):
        m.pairs["tokenizer.ggml.tokens"][1][1][31] = word
    return change


def byte_token(word):
    def change(m):
        m.pairs["tokenizer.ggml.tokens"][1][1][40] = word
        m.pairs["tokenizer.ggml.token_type"][1][1][40] = 6
    return change


def template(words):
    return set_key("tokenizer.chat_template", STRING, words)


def fewer_bytes(m):
    """200 of 256 byte tokens."""
    for i in range(34, 90):
        m.pairs["tokenizer.ggml.tokens"][1][1][i] = f"word{i}"
        m.pairs["tokenizer.ggml.token_type"][1][1][i] = 1


NAN, INF = float("nan"), float("inf")
# name -> (change, what the message must contain); GG items of the checklist in order
CASES = {
    "GG20-architecture": (set_key("general.architecture", STRING, "rwkv6"), "rwkv6"),
    "GG20-architecture-missing": (drop_key("general.architecture"),
                                  "general.architecture is missing"),
    "GG43-layers-zero": (set_key("llama.block_count", U32, 0), "block_count"),
    "GG43-layers-negative": (set_key("llama.block_count", I32, -1), "block_count"),
    "GG43-layers-huge": (set_key("llama.block_count", U32, 10**9), "block_count"),
    "GG43-layers-string": (set_key("llama.block_count", STRING, "2"), "block_count"),
    "GG43-layers-array": (set_key("llama.block_count", ARRAY, (U32, [2])), "block_count"),
    "GG43-layers-missing": (drop_key("llama.block_count"), "block_count is missing"),
    "GG43-layers-more": (set_key("llama.block_count", U32, 3), "tensors of 2 layers"),
    "GG43-layers-fewer": (set_key("llama.block_count", U32, 1), "tensors of 2 layers"),
    "GG44-width-zero": (set_key("llama.embedding_length", U32, 0), "embedding_length"),
    "GG44-width-other": (set_key("llama.embedding_length", U32, 128), "embedding_length is 128"),
    "GG44-width-indivisible": (lambda m: (key(U32, 3)(m, "attention.head_count"),
                                          key(U32, 3)(m, "attention.head_count_kv")),
                               "not a multiple"),
    "GG45-heads-zero": (set_key("llama.attention.head_count", U32, 0), "head_count"),
    "GG45-heads-huge": (set_key("llama.attention.head_count", U32, 10**9), "head_count"),
    "GG45-kv-zero": (set_key("llama.attention.head_count_kv", U32, 0), "head_count_kv"),
    "GG45-kv-more": (set_key("llama.attention.head_count_kv", U32, 8), "does not divide"),
    "GG45-kv-indivisible": (set_key("llama.attention.head_count_kv", U32, 3), "does not divide"),
    "GG45-kv-array": (set_key("llama.attention.head_count_kv", ARRAY, (U32, [2, 2])),
                      "head_count_kv"),
    "GG46-key-length-zero": (set_key("llama.attention.key_length", U32, 0), "key_length"),
    "GG46-key-length-odd": (set_key("llama.attention.key_length", U32, 63), "attention.key_length"),
    "GG46-value-length": (set_key("llama.attention.value_length", U32, 32), "value_length is 32"),
    "GG46-key-length-shape": (lambda m: (key(U32, 32)(m, "attention.key_length"),
                                    key(U32, 32)(m, "attention.value_length")), "attn_q.weight"),
    "GG47-rope-odd": (set_key("llama.rope.dimension_count", U32, 63), "rope turns pairs"),
    "GG47-rope-more": (set_key("llama.rope.dimension_count", U32, 128), "dimension_count"),
    "GG47-rope-zero": (set_key("llama.rope.dimension_count", U32, 0), "dimension_count"),
    "GG47-rope-partial": (set_key("llama.rope.dimension_count", U32, 32), "partial rope"),
    "GG47-base-zero": (set_key("llama.rope.freq_base", F32, 0.0), "freq_base"),
    "GG47-base-negative": (set_key("llama.rope.freq_base", F32, -1.0), "freq_base"),
    "GG47-base-nan": (set_key("llama.rope.freq_base", F32, NAN), "freq_base"),
    "GG47-base-inf": (set_key("llama.rope.freq_base", F32, INF), "freq_base"),
    "GG48-yarn-no-factor": (set_key("llama.rope.scaling.type", STRING, "yarn"),
                            "factor is missing"),
    "GG48-scaling-no-factor": (set_key("llama.rope.scaling.type", STRING, "linear"),
                               "factor is missing"),
    "GG48-scaling-ntk": (set_key("llama.rope.scaling.type", STRING, "ntk-9"), "ntk-9"),
    "GG48-factor-zero": (scaling("linear", 0.0), "scaling.factor"),
    "GG48-factor-negative": (scaling("linear", -2.0), "scaling.factor"),
    "GG48-factor-nan": (scaling("linear", NAN), "scaling.factor"),
    "GG48-yarn-factor-zero": (scaling("yarn", 0.0), "scaling.factor"),
    "GG48-yarn-factor-nan": (scaling("yarn", NAN), "scaling.factor"),
    "GG48-yarn-betas": (lambda m: (scaling("yarn", 4.0)(m), key(F32, 0.5)(
        m, "rope.scaling.yarn_beta_fast")), "yarn_beta_fast"),
    "GG48-yarn-extrapolation": (lambda m: (scaling("yarn", 4.0)(m), key(F32, 0.5)(
        m, "rope.scaling.yarn_ext_factor")), "yarn_ext_factor"),
    "GG48-magnitude": (set_key("llama.rope.scaling.attn_factor", F32, 1.5), "attn_factor is 1.5"),
    "GG48-yarn-original-zero": (lambda m: (scaling("yarn", 4.0)(m), key(U32, 0)(
        m, "rope.scaling.original_context_length")), "original_context_length"),
    "GG49-eps-zero": (set_key("llama.attention.layer_norm_rms_epsilon", F32, 0.0), "epsilon"),
    "GG49-eps-negative": (set_key("llama.attention.layer_norm_rms_epsilon", F32, -1e-5), "epsilon"),
    "GG49-eps-nan": (set_key("llama.attention.layer_norm_rms_epsilon", F32, NAN), "epsilon"),
    "GG49-eps-missing": (drop_key("llama.attention.layer_norm_rms_epsilon"), "epsilon is missing"),
    "GG50-context-zero": (set_key("llama.context_length", U32, 0), "context_length"),
    "GG50-context-huge": (set_key("llama.context_length", U32, 2**32 - 1), "context_length"),
    "GG51-experts": (set_key("llama.expert_count", U32, 8), "expert_count"),
    "GG51-experts-huge": (set_key("llama.expert_count", U32, 10**9), "expert_count"),
    "GG51-experts-used-more": (lambda m: (key(U32, 2)(m, "expert_count"),
                                          key(U32, 4)(m, "expert_used_count")), "expert_count"),
    "GG52-vocab-size": (set_key("llama.vocab_size", U32, 289), "vocab_size is 289"),
    "GG52-vocab-tokens": (set_key("tokenizer.ggml.tokens", ARRAY, (STRING, ["a"])),
                          "has 1 entries"),
    "GG52-vocab-output": (replace("output.weight", (WIDTH, 40)), "output.weight"),
    "GG53-tokens-missing": (drop_key("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens"),
    "GG53-tokens-ints": (set_key("tokenizer.ggml.tokens", ARRAY, (U32, list(range(VOCAB)))),
                         "tokenizer.ggml.tokens"),
    "GG54-scores-short": (set_key("tokenizer.ggml.scores", ARRAY, (F32, [0.0])), "scores"),
    "GG54-scores-type": (set_key("tokenizer.ggml.scores", ARRAY, (I32, [0] * VOCAB)), "scores"),
    "GG54-scores-nan": (set_key("tokenizer.ggml.scores", ARRAY, (F32, [NAN] * VOCAB)),
                        "not finite"),
    "GG55-types-short": (set_key("tokenizer.ggml.token_type", ARRAY, (I32, [1])), "token_type"),
    "GG55-types-value": (set_key("tokenizer.ggml.token_type", ARRAY, (I32, [7] * VOCAB)),
                         "token_type"),
    "GG56-merge-no-space": (merges(["th"]), "merge"),
    "GG56-merge-three": (merges(["t h e"]), "merge"),
    "GG56-merge-unknown": (merges(["t zz"]), "merge"),
    "GG56-merge-empty": (merges([""]), "merge"),
    "GG56-merge-type": (lambda m: (merges([])(m), set_key("tokenizer.ggml.merges", ARRAY, (
        U32, [1]))(m)), "tokenizer.ggml.merges"),
    "GG56-merges-missing": (lambda m: (merges([])(m), drop_key("tokenizer.ggml.merges")(m)),
                            "tokenizer.ggml.merges is missing"),
    "GG57-bos-range": (set_key("tokenizer.ggml.bos_token_id", U32, VOCAB), "bos_token_id"),
    "GG57-bos-negative": (set_key("tokenizer.ggml.bos_token_id", I32, -1), "bos_token_id"),
    "GG58-byte-sign": (byte_token("<0x-1>"), "255 of 256"),
    "GG58-byte-letters": (byte_token("<0xZZ>"), "255 of 256"),
    "GG58-byte-one-digit": (byte_token("<0x1>"), "255 of 256"),
    "GG58-byte-three-digits": (byte_token("<0x100>"), "255 of 256"),
    "GG58-fewer-bytes": (fewer_bytes, "200 of 256"),
    "GG59-tokenizer-unknown": (set_key("tokenizer.ggml.model", STRING, "plamo9"), "plamo9"),
    "GG59-pre-unknown": (lambda m: (set_key("tokenizer.ggml.model", STRING, "gpt2")(m),
                                    set_key("tokenizer.ggml.pre", STRING, "xyz")(m)), "\"xyz\""),
    "GG60-token-long": (token("x" * (1 << 16) + "y"), "has 65537 bytes"),
    "GG63-scale-nan": (poison("blk.1.attn_v.weight", 34 * 8, b"\x00\x7e"), "not finite"),
    "GG63-scale-inf": (poison("token_embd.weight", 0, b"\x00\x7c"), "not finite"),
    "GG63-norm-nan": (poison("blk.0.attn_norm.weight", 4, b"\x00\x00\xc0\x7f"), "not finite"),
    "GG66-output-shape": (replace("output.weight", (512, VOCAB)), "output.weight"),
    "GG67-freqs-length": (replace("rope_freqs.weight", (31,), "f32"), "rope_freqs.weight"),
    "GG67-freqs-values": (lambda m: m.tensors.__setitem__("rope_freqs.weight", (
        "f32", (32,), struct.pack("<32f", *[0.1 * i for i in range(32)]))), "rope_freqs"),
    "GG67-factors-alone": (lambda m: m.tensors.__setitem__("rope_factors_short.weight", (
        "f32", (32,), struct.pack("<32f", *[1.0] * 32))), "one is missing"),
    "GG67-freqs-twice": (lambda m: (scaling("linear", 4.0)(m), m.tensors.__setitem__(
        "rope_freqs.weight", ("f32", (32,), struct.pack("<32f", *[1.0] * 32)))),
                         "beside another rope scaling"),
    "GG67-bias-length": (lambda m: [replace(f"blk.{i}.attn_{x}.bias", (5,), "f32")(m)
                                    for i in range(2) for x in "qkv"], "attn_q.bias"),
    "GG69-adapter": (set_key("general.type", STRING, "adapter"), "adapter"),
    "GG69-mmproj": (set_key("general.type", STRING, "mmproj"), "mmproj"),
    "GG70-imatrix": (set_key("general.type", STRING, "imatrix"), "imatrix"),
    "norm-quantized": (replace("blk.0.attn_norm.weight", (256,)), "attn_norm.weight has type"),
    "left-over": (replace("blk.0.attn_extra.weight", (256,), "f32"), "is left over"),
    "missing": (lambda m: m.tensors.pop("blk.1.ffn_up.weight"), "blk.1.ffn_up.weight is missing"),
    "q5-0": (replace("blk.0.ffn_down.weight", (FF, WIDTH), "q5_0"), "type Q5_0"),
    "q2-k": (replace("blk.0.ffn_down.weight", (FF, WIDTH), "q2_k"), "type Q2_K"),
    "iq4-nl": (replace("blk.0.ffn_down.weight", (FF, WIDTH), "iq4_nl"), "type IQ4_NL"),
}



def divisors(m, name, first):
    m.tensors[name] = ("f32", (32,), struct.pack("<32f", *[first + 0.125 * i for i in range(32)]))


# what is legal, and what is said about it; "": nothing
ACCEPTED = {
    "rope-yarn": (lambda m: (scaling("yarn", 4.0)(m), key(U32, 64)(
        m, "rope.scaling.original_context_length")), ""),
    "rope-freqs": (lambda m: divisors(m, "rope_freqs.weight", 1.0), ""),
    "rope-factors": (lambda m: (
        divisors(m, "rope_factors_short.weight", 1.0), divisors(m, "rope_factors_long.weight", 8.0),
        key(U32, 64)(m, "rope.scaling.original_context_length"),
        key(F32, 1.25)(m, "rope.scaling.attn_factor")), "the context is 64 positions"),
    "GG56-merges": (merges(["t h", "th e"]), ""),
    "GG60-token-empty": (token(""), "1 tokens are empty or have the text of an earlier one"),
    "GG60-token-twice": (token("a"), "1 tokens are empty or have the text of an earlier one"),
    "GG61-template-loop": (template("{% for i in range(10000000) %}{% endfor %}"), "16 MiB"),
    "GG61-template-invalid": (template("{% if %}"), "without chat turns"),
    "GG61-template-attribute": (template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
                                "without chat turns"),
    "GG61-template-long": (template("x" * (10 << 20)), "longer than 1 MiB"),
    "GG62-template-token": (template("{{ cls_token }}{% for m in messages %}"
                                     "{{ m.role + m.content }}{% endfor %}"), "writes cls_token"),
    "GG62-template-sum": (template("{{ cls_token + 'x' }}"), "'cls_token'"),
    "GG64-scales-zero": (poison("blk.1.attn_v.weight", 34 * 8, b"\0\0"), ""),
    "GG64-scale-negative": (poison("blk.1.attn_v.weight", 34 * 8, b"\0\x98"), ""),
}


def many_tensors(path, n, size):
    """n tensors of one dimension of that size, each at an offset of its own."""
    pairs = text("general.architecture") + struct.pack("<I", STRING) + text("llama")
    with open(path, "wb") as f:
        head = b"GGUF" + struct.pack("<IQQ", 3, n, 1) + pairs
        f.write(head)
        total = len(head)
        for i in range(n):
            entry = text(f"t{i}") + struct.pack("<IQIQ", 1, size, 0, 32 * i if size else 0)
            f.write(entry)
            total += len(entry)
        f.truncate((total + 31) // 32 * 32 + 32 * n)


def main():
    case, path = sys.argv[1], sys.argv[2]
    lists = {"--list": CASES, "--accepted": ACCEPTED}
    if case in lists:
        print("\n".join(f"{name}\t{fragment}" for name, (_, fragment) in lists[case].items()))
    elif case.startswith("pre-"):
        model = Model("q8_0")
        merges(["t h", "th e"], case[4:])(model)
        model.write(path)
    elif case == "vocabulary":
        model = Model("q8_0")
        model.tensors = {}
        model.write(path)
    elif case == "many":
        many_tensors(path, int(sys.argv[3]), int(sys.argv[4]))
    elif case.startswith("split-"):
        model, n = Model("q8_0"), 3
        names, extra = list(model.tensors), {"split.tensors.count": (I32, len(model.tensors))}
        model.write(path + "whole.gguf")
        for i in range(n):
            no = 0 if case == "split-number" else i
            parts = {**extra, "split.no": (U32, no), "split.count": (U32, n)}
            if case == "split-count":
                parts["split.tensors.count"] = (I32, len(model.tensors) + 1)
            if case != "split-missing" or i != 1:
                model.write(f"{path}m-{i + 1:05}-of-{n:05}.gguf", names[i::n], parts)
    elif case in TYPES:
        Model(case).write(path)
    else:
        model = Model("q8_0")
        (CASES.get(case) or ACCEPTED[case])[0](model)
        model.write(path)


if __name__ == "__main__":
    main()
