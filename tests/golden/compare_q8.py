#!/usr/bin/env python3
"""Compares the Q8_0 tensors of a .slm file with those of a GGUF made by another program.

compare_q8.py MODEL.slm MODEL.gguf N_HEADS N_KV_HEADS

Reads both files from their format descriptions alone (schemas/slm-format.md; the GGUF layout) and
shares no code with the project. Blocks must be equal byte for byte; the rows of attn_q and attn_k
are in interleaved rope order in the GGUF: within each head, row 2i is our row i and row 2i+1 our
row i + head_dim/2. Prints the number of tensors compared; exits 1 on any difference.
"""
import struct
import sys

Q8_0_SLM, Q8_0_GGUF = 3, 8


def read_slm(path):
    b = open(path, "rb").read()
    n_sections, = struct.unpack_from("<I", b, 24)
    sections = {}
    for i in range(n_sections):
        kind, _, offset, length = struct.unpack_from("<4sIQQ", b, 128 + 40 * i)
        sections[kind] = (offset, length)
    at, data = sections[b"TDIR"][0], sections[b"DATA"][0]
    count, = struct.unpack_from("<I", b, at)
    at += 8
    tensors = {}
    for _ in range(count):
        n_name, kind, rank = struct.unpack_from("<HBB", b, at)
        at += 8
        dims = struct.unpack_from(f"<{rank}Q", b, at)
        offset, length, _ = struct.unpack_from("<QQQ", b, at + 8 * rank)
        at += 8 * rank + 24
        name = b[at:at + n_name].decode()
        at += (n_name + 7) // 8 * 8
        tensors[name] = (kind, dims, b[data + offset:data + offset + length])
    return tensors


def slm_q8_rows(dims, stored):
    """T16 -> for each row the bytes of its GGML blocks: half scale, 32 int8."""
    rows, cols = dims
    n = cols // 32
    plane = (n * 32 + 63) // 64 * 64
    group = plane + n * 512
    out = []
    for row in range(rows):
        g, r = divmod(row, 16)
        base = g * group
        blocks = bytearray()
        for j in range(n):
            blocks += stored[base + j * 32 + 2 * r:base + j * 32 + 2 * r + 2]
            for word in range(8):
                p = base + plane + j * 512 + word * 64 + 4 * r
                blocks += stored[p:p + 4]
        out.append(bytes(blocks))
    return out


def read_gguf(path):
    b = open(path, "rb").read()
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    n_tensors, n_pairs = struct.unpack_from("<QQ", b, 8)
    at = 24

    def skip(kind, at):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", b, at)[0]
        if kind == 9:
            element, n = struct.unpack_from("<IQ", b, at)
            at += 12
            for _ in range(n):
                at = skip(element, at)
            return at
        return at + sizes[kind]

    for _ in range(n_pairs):
        at += 8 + struct.unpack_from("<Q", b, at)[0]
        at = skip(struct.unpack_from("<I", b, at)[0], at + 4)
    infos = []
    for _ in range(n_tensors):
        n, = struct.unpack_from("<Q", b, at)
        name = b[at + 8:at + 8 + n].decode()
        at += 8 + n
        rank, = struct.unpack_from("<I", b, at)
        dims = struct.unpack_from(f"<{rank}Q", b, at + 4)
        at += 4 + 8 * rank
        kind, offset = struct.unpack_from("<IQ", b, at)
        at += 12
        infos.append((name, dims, kind, offset))
    data = (at + 31) // 32 * 32
    return {name: (kind, dims, data + offset, b) for name, dims, kind, offset in infos}


def main():
    ours, theirs = read_slm(sys.argv[1]), read_gguf(sys.argv[2])
    heads = {"attn_q.weight": int(sys.argv[3]), "attn_k.weight": int(sys.argv[4])}
    compared = wrong = 0
    for name, (kind, dims, offset, b) in theirs.items():
        if kind != Q8_0_GGUF:
            continue
        our_kind, our_dims, stored = ours[name]
        if our_kind != Q8_0_SLM or tuple(our_dims) != tuple(reversed(dims)):
            print(f"{name}: type {our_kind}, shape {our_dims} against {dims}")
            wrong += 1
            continue
        row_bytes = dims[0] // 32 * 34
        peer = [b[offset + r * row_bytes:offset + (r + 1) * row_bytes] for r in range(dims[1])]
        mine = slm_q8_rows(our_dims, stored)
        n_heads = heads.get(name.split(".", 2)[-1])
        if n_heads:
            width = dims[1] // n_heads
            mine = [mine[h * width + i // 2 + (width // 2 if i % 2 else 0)]
                    for h in range(n_heads) for i in range(width)]
        differ = sum(x != y for x, y in zip(mine, peer))
        if differ:
            print(f"{name}: {differ} of {len(peer)} rows differ")
            wrong += 1
        compared += 1
    print(f"tensors compared {compared}, different {wrong}")
    return 0 if compared and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
