"""Builds PyTorch and llama2.c checkpoints without either of them, for tests.

The pickles come from Python's own pickle module, with stand-ins for torch's classes; the zip
archives from zipfile.
"""
import io
import math
import pickle
import random
import struct
import sys
import types
import zipfile
from collections import OrderedDict

SIZES = dict(dim=16, hidden_dim=24, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=20,
             max_seq_len=8)


def stand_in(module, name, kind=type):
    m = sys.modules.setdefault(module, types.ModuleType(module))
    if kind is type:
        thing = type(name, (), {})
    else:
        def thing(*_):
            raise AssertionError("only ever pickled")
        thing.__name__ = name
    thing.__module__ = module
    thing.__qualname__ = name
    setattr(m, name, thing)
    return thing


sys.modules.setdefault("torch", types.ModuleType("torch"))
STORAGES = {n: stand_in("torch", n + "Storage") for n in
            ("Float", "Half", "BFloat16", "Double", "Long")}
REBUILD = stand_in("torch._utils", "_rebuild_tensor_v2", None)
PARAMETER = stand_in("torch._utils", "_rebuild_parameter", None)


class Storage:
    def __init__(self, data, kind="Float", count=None, key=None):
        self.data, self.kind, self.key = data, kind, key
        size = {"Float": 4, "Half": 2, "BFloat16": 2, "Double": 8, "Long": 8}[kind]
        self.count = len(data) // size if count is None else count


class Tensor:
    def __init__(self, storage, shape, stride=None, offset=0, parameter=False):
        if stride is None:
            stride, step = [], 1
            for n in reversed(shape):
                stride.insert(0, step)
                step *= n
        self.storage, self.shape, self.stride = storage, tuple(shape), tuple(stride)
        self.offset, self.parameter = offset, parameter


class Reduced:
    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Pickler(pickle._Pickler):
    """Storages become persistent ids; numbered in the order in which they are met."""

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = []

    def persistent_id(self, o):
        if not isinstance(o, Storage):
            return None
        if o.key is None:
            o.key = str(len(self.storages))
        if o not in self.storages:
            self.storages.append(o)
        return "storage", STORAGES[o.kind], o.key, "cpu", o.count

    def save(self, o, **k):
        if isinstance(o, Tensor):
            t = Reduced(REBUILD, (o.storage, o.offset, o.shape, o.stride, False, OrderedDict()))
            o = Reduced(PARAMETER, (t, True, OrderedDict())) if o.parameter else t
            self.keep = getattr(self, "keep", []) + [o, t]  # so that no id is used twice
        return super().save(o, **k)


def dump(value, protocol=2):
    out = io.BytesIO()
    p = Pickler(out, protocol)
    p.dump(value)
    return out.getvalue(), p.storages


def save(path, value, protocol=2, compress=False, extra=None, leave_out=(), prefix="archive",
         pickled=None):
    data, storages = dump(value, protocol)
    members = [("data.pkl", data if pickled is None else pickled), ("byteorder", b"little"),
               ("version", b"3\n")]
    members += [("data/" + s.key, s.data) for s in storages]
    members = [(n, d) for n, d in members if n not in (extra or {})] + list((extra or {}).items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as z:
        for name, content in members:
            if name not in leave_out:
                z.writestr(prefix + "/" + name, content)


# ---- llama2.c ------------------------------------------------------------------------------------

def weights(seed=1, separate=False, **sizes):
    """name -> (shape, list of floats), in llama2.c's names."""
    s = dict(SIZES, **sizes)
    r = random.Random(seed)
    kv = s["dim"] // s["n_heads"] * s["n_kv_heads"]
    d, h = s["dim"], s["hidden_dim"]
    shapes = {"tok_embeddings.weight": (s["vocab_size"], d), "norm.weight": (d,)}
    for i in range(s["n_layers"]):
        p = f"layers.{i}."
        shapes.update({p + "attention.wq.weight": (d, d), p + "attention.wk.weight": (kv, d),
                       p + "attention.wv.weight": (kv, d), p + "attention.wo.weight": (d, d),
                       p + "feed_forward.w1.weight": (h, d), p + "feed_forward.w2.weight": (d, h),
                       p + "feed_forward.w3.weight": (h, d), p + "attention_norm.weight": (d,),
                       p + "ffn_norm.weight": (d,)})
    if separate:
        shapes["output.weight"] = (s["vocab_size"], d)
    return {n: (shape, [r.randint(-127, 127) / 128 for _ in range(math.prod(shape))])
            for n, shape in shapes.items()}


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def llama2c(path, version=0, separate=False, seed=1, group=8, edit=None, **sizes):
    s = dict(SIZES, **sizes)
    w = weights(seed, separate, **sizes)
    layers = range(s["n_layers"])
    numbers = [s[k] for k in ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads",
                              "vocab_size", "max_seq_len")]

    def of(name):
        return [f"layers.{i}.{name}.weight" for i in layers]
    matrices = sum((of("attention." + m) for m in ("wq", "wk", "wv", "wo")), [])
    feed = sum((of("feed_forward." + m) for m in ("w1", "w2", "w3")), [])
    if version == 0:
        numbers[5] *= -1 if separate else 1
        out = struct.pack("<7i", *numbers)
        order = (["tok_embeddings.weight"] + of("attention_norm") + matrices + of("ffn_norm") +
                 feed + ["norm.weight"])
        out += b"".join(floats(w[n][1]) for n in order)
        half = s["dim"] // s["n_heads"] // 2
        for table in (math.cos, math.sin):
            out += floats([table(t * 10000 ** (-i / half)) for t in range(s["max_seq_len"])
                           for i in range(half)])
        out += floats(w["output.weight"][1]) if separate else b""
    else:
        out = struct.pack("<Ii7iB", 0x616b3432, version, *numbers, not separate)
        out += struct.pack("<i", group) if version == 2 else b""
        out = out.ljust(256, b"\0")
        norms = of("attention_norm") + of("ffn_norm") + ["norm.weight"]
        out += b"".join(floats(w[n][1]) for n in norms)
        rest = ["tok_embeddings.weight"] + matrices + feed
        rest += ["output.weight"] if separate else []
        for n in rest:
            values = w[n][1]
            if version == 1:
                out += floats(values)
            else:  # every weight is a multiple of 1/128: exact with that scale
                out += struct.pack(f"{len(values)}b", *[int(v * 128) for v in values])
                out += floats([1 / 128] * (len(values) // group))
    out = bytearray(out)
    if edit:
        out = edit(out) or out
    open(path, "wb").write(out)


def checkpoint(separate=False, seed=1, transposed=False, **sizes):
    """The dictionary of a llama2.c training checkpoint."""
    s = dict(SIZES, **sizes)
    s.pop("hidden_dim")
    state = OrderedDict()
    for name, (shape, values) in weights(seed, separate, **sizes).items():
        if transposed and len(shape) == 2:
            turned = [values[r * shape[1] + c] for c in range(shape[1]) for r in range(shape[0])]
            state[name] = Tensor(Storage(floats(turned)), shape, (1, shape[0]))
        else:
            state[name] = Tensor(Storage(floats(values)), shape)
    if not separate:
        state["output.weight"] = state["tok_embeddings.weight"]
    return {"model": state, "model_args": s, "iter_num": 7, "best_val_loss": float("inf")}


def corpora(root):
    """Seeds for the fuzz targets."""
    def write(path, data):
        open(f"{root}/{path}", "wb").write(data)
    small = dict(dim=4, hidden_dim=4, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=3,
                 max_seq_len=2)
    for protocol in (2, 4):
        value = {"model": {"a": Tensor(Storage(b"1234" * 6), (2, 3), parameter=True),
                           "b": Tensor(Storage(b"1234" * 2, "Half"), (2,), (2,), 1)},
                 "n": [1, -5, 70000, 2 ** 40, (1.5, None, True, "x")], 3: {}}
        write(f"pickle/protocol{protocol}", dump(value, protocol)[0])
    write("pickle/checkpoint", dump(checkpoint(**small))[0])
    for version in (0, 1, 2):
        llama2c(f"{root}/llama2c/v{version}", version, version == 0, group=2, **small)
    tokens = b"".join(struct.pack("<fi", -i, len(t)) + t for i, t in enumerate(
        (b"<unk>", b"\n<s>\n", b"<0x0A>", b"ab")))
    write("llama2c/tokens", struct.pack("<i", 6) + tokens)
    save(f"{root}/zip/stored", {"a": Tensor(Storage(b"1234"), (1,))})
    save(f"{root}/zip/deflated", {"a": Tensor(Storage(b"1234" * 9), (9,))}, compress=True)
    out = io.BytesIO()

    class Pipe(io.RawIOBase):  # no seeking: descriptors behind the data
        def writable(self):
            return True

        def write(self, data):
            return out.write(data)
    with zipfile.ZipFile(Pipe(), "w") as z:
        z.writestr("a/b", b"123")
    write("zip/streamed", out.getvalue())
