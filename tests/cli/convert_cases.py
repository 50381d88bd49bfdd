"""Makes small Hugging Face folders for the tests of slm-convert: a good Llama to begin with, which
a test then changes. Weights are a fixed pseudo-random sequence."""
import json
import os
import struct

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "F8_E4M3": 1}


def values(n, dtype, seed):
    """n small numbers of a type, as bytes; all exact in all three types."""
    out, x = bytearray(), seed * 2654435761 % 2**32 or 1
    for _ in range(n):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        number = (x % 255 - 127) / 1024
        if dtype == "F32":
            out += struct.pack("<f", number)
        elif dtype == "F16":
            out += struct.pack("<e", number)
        else:
            out += struct.pack("<f", number)[2:]
    return bytes(out)


class Folder:
    def __init__(self, dtype="F32", d=32, ff=48, heads=4, kv=2, layers=2, vocab=40):
        self.dtype = dtype
        self.config = {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d,
            "intermediate_size": ff, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "vocab_size": vocab, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "tie_word_embeddings": False,
        }
        self.tensors = {}
        self.add("model.embed_tokens.weight", [vocab, d])
        for i in range(layers):
            p = f"model.layers.{i}."
            self.add(p + "input_layernorm.weight", [d])
            self.add(p + "self_attn.q_proj.weight", [d, d])
            self.add(p + "self_attn.k_proj.weight", [d * kv // heads, d])
            self.add(p + "self_attn.v_proj.weight", [d * kv // heads, d])
            self.add(p + "self_attn.o_proj.weight", [d, d])
            self.add(p + "post_attention_layernorm.weight", [d])
            self.add(p + "mlp.gate_proj.weight", [ff, d])
            self.add(p + "mlp.up_proj.weight", [ff, d])
            self.add(p + "mlp.down_proj.weight", [d, ff])
        self.add("model.norm.weight", [d])
        self.add("lm_head.weight", [vocab, d])

    def add(self, name, shape, data=None, dtype=None):
        n = 1
        for size in shape:
            n *= size
        dtype = dtype or self.dtype
        if data is None:
            data = values(n, dtype, len(self.tensors) + 1)
        self.tensors[name] = (dtype, shape, data)

    def poke(self, name, index, element):
        """Overwrites one element with the given bytes."""
        dtype, shape, data = self.tensors[name]
        at = index * SIZES[dtype]
        self.tensors[name] = (dtype, shape, data[:at] + element + data[at + len(element):])

    def write_config(self, path):
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "config.json"), "w") as f:
            json.dump(self.config, f)

    def write(self, path, shards=1):
        """config.json and model.safetensors, or shards with an index; returns the index."""
        self.write_config(path)
        names = list(self.tensors)
        if shards == 1:
            write_safetensors(os.path.join(path, "model.safetensors"), self.tensors)
            return None
        weight_map, total = {}, 0
        for s in range(shards):
            file = f"model-{s + 1:05}-of-{shards:05}.safetensors"
            part = {n: self.tensors[n] for n in names[s::shards]}
            weight_map.update({n: file for n in part})
            total += sum(len(t[2]) for t in part.values())
            write_safetensors(os.path.join(path, file), part)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_index(path, index)
        return index


def write_index(path, index):
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
        json.dump(index, f)


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)


def split(source, path, shards):
    """Copies a folder with its model.safetensors cut into shards."""
    with open(os.path.join(source, "model.safetensors"), "rb") as f:
        blob = f.read()
    (n,) = struct.unpack_from("<Q", blob)
    folder = Folder()
    folder.tensors = {}
    for name, t in json.loads(blob[8:8 + n]).items():
        if name != "__metadata__":
            begin, end = t["data_offsets"]
            folder.tensors[name] = (t["dtype"], t["shape"], blob[8 + n + begin:8 + n + end])
    folder.write(path, shards)
    for name in os.listdir(source):
        if name.endswith(".json"):
            with open(os.path.join(source, name), "rb") as f:
                text = f.read()
            with open(os.path.join(path, name), "wb") as f:
                f.write(text)
