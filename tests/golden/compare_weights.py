#!/usr/bin/env python3
"""Compares every tensor of a .slm file with the Hugging Face folder that it was made from.

compare_weights.py FOLDER MODEL.slm [keep|f32|f16|bf16]

Reads both formats with struct alone and shares no code with the tools. Names, shapes, values,
padding and the absence of other tensors are checked; prints the number of tensors and exits 1 at
the first difference.
"""
import glob
import json
import os
import re
import struct
import sys

TYPES = {0: ("F32", 4), 1: ("F16", 2), 2: ("BF16", 2)}
LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "attn_output.bias": "self_attn.o_proj.bias",
}
for part in "qkv":
    for kind in ("weight", "bias"):
        LAYER[f"attn_{part}.{kind}"] = f"self_attn.{part}_proj.{kind}"


def read_source(folder):
    tensors = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        blob = open(path, "rb").read()
        (n,) = struct.unpack_from("<Q", blob, 0)
        for name, entry in json.loads(blob[8:8 + n]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                tensors[name] = (entry["dtype"], entry["shape"], blob[8 + n + begin:8 + n + end])
    return tensors


def read_slm(path):
    blob = open(path, "rb").read()
    n_sections, table = struct.unpack_from("<I4xQ", blob, 24)
    sections = {}
    for i in range(n_sections):
        kind, _, offset, length = struct.unpack_from("<4sIQQ", blob, table + 40 * i)
        sections[kind.decode()] = (offset, length)
    at, data = sections["TDIR"][0], sections["DATA"][0]
    (count,) = struct.unpack_from("<I", blob, at)
    at += 8
    tensors = {}
    for _ in range(count):
        n_name, kind, rank = struct.unpack_from("<HBB", blob, at)
        shape = list(struct.unpack_from(f"<{rank}Q", blob, at + 8))
        rest = at + 8 + 8 * rank
        offset, length, _ = struct.unpack_from("<QQQ", blob, rest)
        name = blob[rest + 24:rest + 24 + n_name].decode()
        at = rest + 24 + (n_name + 7) // 8 * 8
        tensors[name] = (kind, shape, blob[data + offset:data + offset + length])
    return tensors


def source_name(name, source):
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight":
           "model.norm.weight", "output.weight": "lm_head.weight"}
    if name in top:
        found = top[name]
        if name == "token_embd.weight" and found not in source and found[6:] not in source:
            return "lm_head.weight"  # tied, stored once
    else:
        layer, part = re.fullmatch(r"blk\.(\d+)\.(.+)", name).groups()
        found = f"model.layers.{layer}.{LAYER[part]}"
    return found if found in source else found.removeprefix("model.")


def bf16_bits(x):
    (bits,) = struct.unpack("<I", struct.pack("<f", x))
    low, high = bits & 0xFFFF, bits >> 16
    return high + (low > 0x8000 or (low == 0x8000 and high & 1))


def convert(values, have, want):
    """Bytes of one type to bytes of another, round to nearest even."""
    n = len(values) // (4 if have == "F32" else 2)
    if have == want:
        return values
    if have == "BF16":
        wide = b"".join(b"\0\0" + values[2 * i:2 * i + 2] for i in range(n))
        floats = struct.unpack(f"<{n}f", wide)
    else:
        floats = struct.unpack(f"<{n}{'f' if have == 'F32' else 'e'}", values)
    if want == "BF16":
        return struct.pack(f"<{n}H", *map(bf16_bits, floats))
    return struct.pack(f"<{n}{'f' if want == 'F32' else 'e'}", *floats)


def check(name, stored, original, option):
    kind, shape, got = stored
    have, source_shape, values = original
    want = "F32" if len(shape) == 1 else have if option == "keep" else option.upper()
    if shape != source_shape:
        return f"shape {shape}, source {source_shape}"
    if TYPES[kind][0] != want:
        return f"type {TYPES[kind][0]}, expected {want}"
    size, columns = TYPES[kind][1], shape[-1]
    stride = (columns + 15) // 16 * 16 if len(shape) == 2 else columns
    rows = shape[0] if len(shape) == 2 else 1
    expected = convert(values, have, want)
    if len(got) != rows * stride * size:
        return f"{len(got)} bytes stored, expected {rows * stride * size}"
    for r in range(rows):
        row = got[r * stride * size:(r + 1) * stride * size]
        if row[:columns * size] != expected[r * columns * size:(r + 1) * columns * size]:
            return f"row {r} differs"
        if any(row[columns * size:]):
            return f"row {r} is not padded with zeros"
    return None


def main():
    source, model = read_source(sys.argv[1]), read_slm(sys.argv[2])
    option = sys.argv[3] if len(sys.argv) > 3 else "keep"
    unused = set(source)
    for name, stored in model.items():
        original = source_name(name, source)
        if original not in source:
            print(f"{name}: {original} is not in the source")
            return 1
        wrong = check(name, stored, source[original], option)
        if wrong:
            print(f"{name}: {wrong}")
            return 1
        unused.discard(original)
    config = json.load(open(os.path.join(sys.argv[1], "config.json")))
    if config.get("tie_word_embeddings"):
        unused -= {"lm_head.weight"}
    if unused:
        print("not in the .slm file:", *sorted(unused))
        return 1
    print(f"{len(model)} tensors equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
