#!/usr/bin/env python3
"""The checksums of a .slm file, written from schemas/slm-format.md alone.

slm_checksums.py check MODEL.slm
    recomputes every checksum and place; prints what it read
slm_checksums.py example schemas/slm-format.md
    recomputes the worked examples of the document
slm_checksums.py damage IN OUT [--seal] OFFSET=HEX...
    overwrites bytes; --seal: makes the checksums right again afterwards

OFFSET may be a number, or a name (header, table, CONF, TDIR, DATA) with +N.
"""
import re
import struct
import sys

M = (1 << 64) - 1


def mix64(z):
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & M
    z = (z ^ z >> 27) * 0x94d049bb133111eb & M
    return z ^ z >> 31


def checksum(data, seed=0):
    lanes = [mix64(seed ^ k) for k in (0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f,
                                       0x165667b19e3779f9, 0x27d4eb2f165667c5)]
    padded = data + bytes(-len(data) % 32)
    for i, word in enumerate(struct.unpack(f"<{len(padded) // 8}Q", padded)):
        lane = (lanes[i % 4] ^ word) * 0xbf58476d1ce4e5b9 & M
        lanes[i % 4] = lane ^ lane >> 32
    digest = mix64(len(data))
    for lane in lanes:
        digest = mix64(digest ^ lane)
    return digest


def layout_word(h, name, dims):
    h = mix64(h ^ len(name))
    name += bytes(-len(name) % 8)
    for i in range(0, len(name), 8):
        h = mix64(h ^ int.from_bytes(name[i:i + 8], "little"))
    h = mix64(h ^ len(dims))
    for d in dims:
        h = mix64(h ^ d)
    return h


class File:
    def __init__(self, blob):
        self.blob = bytearray(blob)
        n = self.u32(24)
        self.table = range(128, 128 + 40 * n, 40)
        self.sections = {}
        for at in self.table:
            kind = bytes(self.blob[at:at + 4]).decode("latin-1")
            self.sections[kind] = (at, self.u64(at + 8), self.u64(at + 16))

    def u32(self, at):
        return struct.unpack_from("<I", self.blob, at)[0]

    def u64(self, at):
        return struct.unpack_from("<Q", self.blob, at)[0]

    def put(self, at, value):
        struct.pack_into("<Q", self.blob, at, value)

    def payload(self, kind):
        _, at, n = self.sections[kind]
        return bytes(self.blob[at:at + n])

    def tensors(self):
        """(entry offset of the checksum, name, type, dims, offset in the file, length)"""
        base = self.sections["TDIR"][1]
        data = self.sections["DATA"][1]
        at = base + 8
        for _ in range(self.u32(base)):
            n_name, kind, rank = struct.unpack_from("<HBB", self.blob, at)
            dims = struct.unpack_from(f"<{rank}Q", self.blob, at + 8)
            p = at + 8 + 8 * rank
            name = bytes(self.blob[p + 24:p + 24 + n_name])
            yield p + 16, name, kind, dims, data + self.u64(p), self.u64(p + 8)
            at = p + 24 + (n_name + 7) // 8 * 8

    def values(self):
        """Every (offset of a stored checksum, computed value), bottom up."""
        content, layout = 0x736c6d2d64617461, 0x74656e736f722d6c
        for at, name, _, dims, offset, length in list(self.tensors()):
            value = checksum(bytes(self.blob[offset:offset + length]))
            yield at, value
            content = mix64(content ^ value)
            layout = layout_word(layout, name, dims)
        yield 56, layout
        yield 64, content
        for kind, (at, _, _) in self.sections.items():
            yield at + 24, content if kind == "DATA" else checksum(self.payload(kind))
        yield 48, checksum(self.payload("TOKN")) if "TOKN" in self.sections else 0
        end = self.table.stop
        yield 120, checksum(bytes(self.blob[:120] + self.blob[128:end]))


def check(path):
    f = File(open(path, "rb").read())
    wrong = 0
    for at, value in f.values():
        if f.u64(at) != value:
            print(f"at {at}: {f.u64(at):016x} stored, {value:016x} computed")
            wrong += 1
    end = f.table.stop
    for kind, (at, offset, length) in f.sections.items():
        wrong += offset != -(-end // 64) * 64 or any(f.blob[end:offset])
        end = offset + length
    wrong += end != len(f.blob) or f.u64(16) != end
    parameters = 0
    for _, _, _, dims, offset, _ in f.tensors():
        n = 1
        for d in dims:
            n *= d
        parameters += n
        wrong += offset % 64 != 0
    wrong += f.u64(40) != parameters
    print(f"{len(f.blob)} bytes, {parameters} parameters, content {f.u64(64):016x}, "
          f"{wrong} wrong")
    return 1 if wrong else 0


def example(path):
    text = open(path, encoding="utf-8").read()
    rows = re.findall(r"^\| `([^`]*)` \| ([0-9]+) \| `([0-9a-f]{16})` \|$", text, re.M)
    bad = 0
    for shown, repeat, value in rows:
        data = bytes.fromhex(shown) * int(repeat)
        if checksum(data) != int(value, 16):
            print(f"{shown!r} x {repeat}: {checksum(data):016x}, not {value}")
            bad += 1
    layout = re.search(r"^Layout checksum of .*: `([0-9a-f]{16})`$", text, re.M)
    h = layout_word(0x74656e736f722d6c, b"token_embd.weight", (1024, 256))
    h = layout_word(h, b"output_norm.weight", (256,))
    if not layout or int(layout.group(1), 16) != h:
        print(f"layout: {h:016x}")
        bad += 1
    print(f"{len(rows)} checksums and the layout, {bad} wrong")
    return 1 if bad or len(rows) < 4 else 0


def damage(arguments):
    source, target = arguments[:2]
    f = File(open(source, "rb").read())
    for change in arguments[2:]:
        if change == "--seal":
            continue
        place, value = change.split("=")
        name, _, plus = place.partition("+")
        base = {"header": 0, "table": 128}.get(name)
        if base is None:
            base = f.sections[name][1] if name in f.sections else int(name)
        at = base + int(plus or 0)
        f.blob[at:at + len(value) // 2] = bytes.fromhex(value)
    if "--seal" in arguments:
        for at, value in f.values():
            f.put(at, value)
    open(target, "wb").write(f.blob)
    return 0


if __name__ == "__main__":
    command = {"check": lambda a: check(a[0]), "example": lambda a: example(a[0]),
               "damage": damage}
    sys.exit(command[sys.argv[1]](sys.argv[2:]))
