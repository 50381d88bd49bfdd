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


NAN, INF = float("nan"), float("inf")
# name -> (change, what the message must contain); GG items of the checklist in order
CASES = {
    "layers-zero": (set_key("llama.block_count", U32, 0), "block_count"),
    "layers-negative": (set_key("llama.block_count", I32, -1), "block_count"),
    "layers-huge": (set_key("llama.block_count", U32, 10**9), "block_count"),
    "layers-string": (set_key("llama.block_count", STRING, "2"), "block_count"),
    "layers-array": (set_key("llama.block_count", ARRAY, (U32, [2])), "block_count"),
    "layers-missing": (drop_key("llama.block_count"), "block_count is missing"),
    "layers-more": (set_key("llama.block_count", U32, 3), "tensors of 2 layers"),
    "layers-fewer": (set_key("llama.block_count", U32, 1), "tensors of 2 layers"),
    "width-zero": (set_key("llama.embedding_length", U32, 0), "embedding_length"),
    "width-other": (set_key("llama.embedding_length", U32, 128), "embedding_length is 128"),
    "width-indivisible": (lambda m: (key(U32, 3)(m, "attention.head_count"),
                                     key(U32, 3)(m, "attention.head_count_kv")),
                          "not a multiple"),
    "heads-zero": (set_key("llama.attention.head_count", U32, 0), "head_count"),
    "heads-huge": (set_key("llama.attention.head_count", U32, 10**9), "head_count"),
    "kv-zero": (set_key("llama.attention.head_count_kv", U32, 0), "head_count_kv"),
    "kv-more": (set_key("llama.attention.head_count_kv", U32, 8), "does not divide"),
    "kv-indivisible": (set_key("llama.attention.head_count_kv", U32, 3), "does not divide"),
    "kv-array": (set_key("llama.attention.head_count_kv", ARRAY, (U32, [2, 2])), "head_count_kv"),
    "key-length-zero": (set_key("llama.attention.key_length", U32, 0), "key_length"),
    "key-length-odd": (set_key("llama.attention.key_length", U32, 63), "attention.key_length"),
    "value-length": (set_key("llama.attention.value_length", U32, 32), "value_length is 32"),
    "key-length-shape": (lambda m: (key(U32, 32)(m, "attention.key_length"),
                                    key(U32, 32)(m, "attention.value_length")), "attn_q.weight"),
    "rope-odd": (set_key("llama.rope.dimension_count", U32, 63), "rope turns pairs"),
    "rope-more": (set_key("llama.rope.dimension_count", U32, 128), "dimension_count"),
    "rope-zero": (set_key("llama.rope.dimension_count", U32, 0), "dimension_count"),
    "rope-partial": (set_key("llama.rope.dimension_count", U32, 32), "partial rope"),
    "base-zero": (set_key("llama.rope.freq_base", F32, 0.0), "freq_base"),
    "base-negative": (set_key("llama.rope.freq_base", F32, -1.0), "freq_base"),
    "base-nan": (set_key("llama.rope.freq_base", F32, NAN), "freq_base"),
    "base-inf": (set_key("llama.rope.freq_base", F32, INF), "freq_base"),
    "scaling-unknown": (set_key("llama.rope.scaling.type", STRING, "yarn"), "yarn"),
    "scaling-no-factor": (set_key("llama.rope.scaling.type", STRING, "linear"),
                          "factor is missing"),
    "eps-zero": (set_key("llama.attention.layer_norm_rms_epsilon", F32, 0.0), "epsilon"),
    "eps-negative": (set_key("llama.attention.layer_norm_rms_epsilon", F32, -1e-5), "epsilon"),
    "eps-nan": (set_key("llama.attention.layer_norm_rms_epsilon", F32, NAN), "epsilon"),
    "eps-missing": (drop_key("llama.attention.layer_norm_rms_epsilon"), "epsilon is missing"),
    "context-zero": (set_key("llama.context_length", U32, 0), "context_length"),
    "context-huge": (set_key("llama.context_length", U32, 2**32 - 1), "context_length"),
    "experts": (set_key("llama.expert_count", U32, 8), "expert_count"),
    "vocab-size": (set_key("llama.vocab_size", U32, 289), "vocab_size is 289"),
    "vocab-tokens": (set_key("tokenizer.ggml.tokens", ARRAY, (STRING, ["a"])), "has 1 entries"),
    "vocab-output": (replace("output.weight", (WIDTH, 40)), "output.weight"),
    "tokens-missing": (drop_key("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens"),
    "tokens-ints": (set_key("tokenizer.ggml.tokens", ARRAY, (U32, list(range(VOCAB)))),
                    "tokenizer.ggml.tokens"),
    "scores-short": (set_key("tokenizer.ggml.scores", ARRAY, (F32, [0.0])), "scores"),
    "scores-type": (set_key("tokenizer.ggml.scores", ARRAY, (I32, [0] * VOCAB)), "scores"),
    "scores-nan": (set_key("tokenizer.ggml.scores", ARRAY, (F32, [NAN] * VOCAB)), "not finite"),
    "types-short": (set_key("tokenizer.ggml.token_type", ARRAY, (I32, [1])), "token_type"),
    "types-value": (set_key("tokenizer.ggml.token_type", ARRAY, (I32, [7] * VOCAB)),
                    "token_type"),
    "bos-range": (set_key("tokenizer.ggml.bos_token_id", U32, VOCAB), "bos_token_id"),
    "bos-negative": (set_key("tokenizer.ggml.bos_token_id", I32, -1), "bos_token_id"),
    "tokenizer-unknown": (set_key("tokenizer.ggml.model", STRING, "plamo9"), "plamo9"),
    "pre-unknown": (lambda m: (set_key("tokenizer.ggml.model", STRING, "gpt2")(m),
                               set_key("tokenizer.ggml.pre", STRING, "xyz")(m)), "\"xyz\""),
    "scale-nan": (poison("blk.1.attn_v.weight", 34 * 8, b"\x00\x7e"), "not finite"),
    "scale-inf": (poison("token_embd.weight", 0, b"\x00\x7c"), "not finite"),
    "norm-nan": (poison("blk.0.attn_norm.weight", 4, b"\x00\x00\xc0\x7f"), "not finite"),
    "output-shape": (replace("output.weight", (512, VOCAB)), "output.weight"),
    "freqs-length": (replace("rope_freqs.weight", (31,), "f32"), "rope_freqs.weight"),
    "freqs-values": (lambda m: m.tensors.__setitem__("rope_freqs.weight", (
        "f32", (32,), struct.pack("<32f", *[1 + 0.1 * i for i in range(32)]))), "rope_freqs"),
    "bias-length": (lambda m: [replace(f"blk.{i}.attn_{x}.bias", (5,), "f32")(m)
                               for i in range(2) for x in "qkv"], "attn_q.bias"),
    "norm-quantized": (replace("blk.0.attn_norm.weight", (256,)), "attn_norm.weight has type"),
    "left-over": (replace("blk.0.attn_extra.weight", (256,), "f32"), "is left over"),
    "missing": (lambda m: m.tensors.pop("blk.1.ffn_up.weight"), "blk.1.ffn_up.weight is missing"),
    "adapter": (set_key("general.type", STRING, "adapter"), "adapter"),
    "mmproj": (set_key("general.type", STRING, "mmproj"), "mmproj"),
    "imatrix": (set_key("general.type", STRING, "imatrix"), "imatrix"),
    "architecture": (set_key("general.architecture", STRING, "rwkv6"), "rwkv6"),
    "architecture-missing": (drop_key("general.architecture"), "general.architecture is missing"),
    "q5-0": (replace("blk.0.ffn_down.weight", (FF, WIDTH), "q5_0"), "type Q5_0"),
    "q2-k": (replace("blk.0.ffn_down.weight", (FF, WIDTH), "q2_k"), "type Q2_K"),
    "iq4-nl": (replace("blk.0.ffn_down.weight", (FF, WIDTH), "iq4_nl"), "type IQ4_NL"),
}


def main():
    case, path = sys.argv[1], sys.argv[2]
    if case == "--list":
        print("\n".join(f"{name}\t{fragment}" for name, (_, fragment) in CASES.items()))
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
        CASES[case][0](model)
        model.write(path)


if __name__ == "__main__":
    main()
