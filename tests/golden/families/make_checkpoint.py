#!/usr/bin/env python3
"""Writes a small Hugging Face checkpoint with random weights, the same on every machine.

make_checkpoint.py NAME FOLDER [SEED]      make_checkpoint.py --list

NAME is a model family or a variant of one (see MODELS). The folder receives config.json,
model.safetensors, tokenizer.json, tokenizer_config.json, generation_config.json and tokens.i32 (80
ids for the test). Keys, tensor names and shapes are those of the transformers classes named in
config.json. The golden logits belong to the checkpoints without SEED.
"""
import array
import json
import math
import os
import struct
import sys

N_TOKENS = 80
MASK = (1 << 64) - 1

# ---- Random numbers: xorshift64, seeded with FNV-1a of a text ------------------------------------


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h or 1


def uniforms(text, n):
    """n numbers in (-1, 1) with 24 bits each: exact in a double, so equal everywhere."""
    x, out = fnv1a(text), []
    for _ in range(8 + (n + 1) // 2):  # the first few still resemble the seed
        x ^= x << 13 & MASK
        x ^= x >> 7
        x ^= x << 17 & MASK
        out.append(((x >> 40) - 8388607.5) / 8388608.0)
        out.append(((x >> 12 & 0xFFFFFF) - 8388607.5) / 8388608.0)
    return out[16:16 + n]


# ---- Tokenizer: 256 bytes, a few merges, two control tokens --------------------------------------

MERGES = """Ġ+t h+e Ġt+he i+n e+r Ġ+a o+n r+e a+t e+n o+r Ġ+s i+s Ġ+w a+n Ġ+o i+t e+s a+r Ġ+b Ġ+c
o+u in+g Ġ+f Ġa+n Ġan+d e+d Ġ+in Ġo+f Ġt+o h+at Ġt+hat l+l a+s Ġ+m Ġ+h Ġ+p Ġ+d v+er Ġ+l o+m
s+t""".split()
MERGES = [merge.split("+") for merge in MERGES]
CONTROL = ["<|bos|>", "<|eos|>"]
N_VOCAB = 256 + len(MERGES) + len(CONTROL)
BOS, EOS = N_VOCAB - 2, N_VOCAB - 1


def byte_letters():
    """The letters that byte-level BPE writes bytes with: printable ones stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    letters = {b: chr(b) for b in plain}
    letters.update({b: chr(256 + i) for i, b in enumerate(others)})
    return [letters[b] for b in plain + others]


def tokenizer():
    tokens = byte_letters()
    for left, right in MERGES:
        assert left in tokens and right in tokens and left + right not in tokens, (left, right)
        tokens.append(left + right)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    added = [{"id": BOS + i, "content": name, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True}
             for i, name in enumerate(CONTROL)]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "vocab": {token: i for i, token in enumerate(tokens + CONTROL)},
            "merges": [f"{left} {right}" for left, right in MERGES],
        },
    }


# ---- Tensors: (name, shape, mean, standard deviation) --------------------------------------------


class Tensors(list):
    def matrix(self, name, rows, columns, gain):
        """Rows that turn inputs of unit variance into outputs of standard deviation `gain`."""
        self.append((name + ".weight", [rows, columns], 0.0, gain / math.sqrt(columns)))

    def turned(self, name, rows, columns, gain):
        """The same, stored [inputs, outputs] as GPT-2's Conv1D has it."""
        self.append((name + ".weight", [columns, rows], 0.0, gain / math.sqrt(columns)))

    def bias(self, name, n, size=0.3):
        self.append((name + ".bias", [n], 0.0, size))

    def norm(self, name, n, mean=1.0, bias=False):
        self.append((name + ".weight", [n], mean, 0.25))
        if bias:
            self.bias(name, n, 0.2)


def head_dim(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def attention(t, at, c, qkv_bias=False, o_bias=None, q_gain=1.4):
    d, h = c["hidden_size"], head_dim(c)
    nq, nk = c["num_attention_heads"] * h, c["num_key_value_heads"] * h
    for part, rows, gain in (("q", nq, q_gain), ("k", nk, 1.2), ("v", nk, 1.2)):
        t.matrix(f"{at}.{part}_proj", rows, d, gain)
        if qkv_bias:
            t.bias(f"{at}.{part}_proj", rows)
    t.matrix(f"{at}.o_proj", d, nq, 1.6)
    if o_bias:  # "zero" or "random"
        t.bias(f"{at}.o_proj", d, 0.0 if o_bias == "zero" else 0.3)


def gated(t, at, c, bias=False):
    d, ff = c["hidden_size"], c["intermediate_size"]
    for part, rows, columns in (("gate", ff, d), ("up", ff, d), ("down", d, ff)):
        t.matrix(f"{at}.{part}_proj", rows, columns, 1.5)
        if bias:
            t.bias(f"{at}.{part}_proj", rows)


def embeddings(t, c, gain, head_gain=2.5):
    """gain: standard deviation of an embedding's elements."""
    d, n = c["hidden_size"], c["vocab_size"]
    t.matrix("model.embed_tokens", n, d, gain * math.sqrt(d))
    if not c["tie_word_embeddings"]:
        t.matrix("lm_head", n, d, head_gain)


def layers(c):
    return [f"model.layers.{i}" for i in range(c["num_hidden_layers"])]


def llama_tensors(c):
    """llama, mistral, qwen2, smollm3, granite."""
    t, d = Tensors(), c["hidden_size"]
    qwen2 = c["model_type"] == "qwen2"  # has biases, but none on the output, and no key for them
    bias = qwen2 or c.get("attention_bias", False)
    o_bias = None if qwen2 or not bias else "random" if c.get("mlp_bias") else "zero"
    q_gain = 0.5 if "attention_multiplier" in c else 1.4
    embeddings(t, c, 0.3 if c["tie_word_embeddings"] else 0.8)
    for at in layers(c):
        t.norm(f"{at}.input_layernorm", d)
        attention(t, f"{at}.self_attn", c, bias, o_bias, q_gain)
        t.norm(f"{at}.post_attention_layernorm", d)
        gated(t, f"{at}.mlp", c, c.get("mlp_bias", False))
    t.norm("model.norm", d)
    return t


def gemma_tensors(c):
    """Norm weights are stored less one."""
    t, d, h = Tensors(), c["hidden_size"], c["head_dim"]
    embeddings(t, c, 0.3)
    for at in layers(c):
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            t.norm(f"{at}.{norm}_layernorm", d, 0.2)
        attention(t, f"{at}.self_attn", c, q_gain=2.0)
        if c["model_type"] == "gemma3_text":
            t.norm(f"{at}.self_attn.q_norm", h, 0.2)
            t.norm(f"{at}.self_attn.k_norm", h, 0.2)
        gated(t, f"{at}.mlp", c)
    t.norm("model.norm", d, 0.2)
    return t


def olmo2_tensors(c):
    t, d, h = Tensors(), c["hidden_size"], head_dim(c)
    embeddings(t, c, 0.8)
    for at in layers(c):
        attention(t, f"{at}.self_attn", c)
        t.norm(f"{at}.self_attn.q_norm", c["num_attention_heads"] * h)
        t.norm(f"{at}.self_attn.k_norm", c["num_key_value_heads"] * h)
        t.norm(f"{at}.post_attention_layernorm", d)
        gated(t, f"{at}.mlp", c)
        t.norm(f"{at}.post_feedforward_layernorm", d)
    t.norm("model.norm", d)
    return t


def phi3_tensors(c):
    t, d, h = Tensors(), c["hidden_size"], head_dim(c)
    nq, nk = c["num_attention_heads"] * h, c["num_key_value_heads"] * h
    embeddings(t, c, 0.8)
    for at in layers(c):
        t.norm(f"{at}.input_layernorm", d)
        t.matrix(f"{at}.self_attn.qkv_proj", nq + 2 * nk, d, 1.3)
        t.matrix(f"{at}.self_attn.o_proj", d, nq, 1.6)
        t.norm(f"{at}.post_attention_layernorm", d)
        t.matrix(f"{at}.mlp.gate_up_proj", 2 * c["intermediate_size"], d, 1.5)
        t.matrix(f"{at}.mlp.down_proj", d, c["intermediate_size"], 1.5)
    t.norm("model.norm", d)
    return t


def starcoder2_tensors(c):
    t, d, ff = Tensors(), c["hidden_size"], c["intermediate_size"]
    embeddings(t, c, 0.3)
    for at in layers(c):
        t.norm(f"{at}.input_layernorm", d, bias=True)
        attention(t, f"{at}.self_attn", c, True, "random")
        t.norm(f"{at}.post_attention_layernorm", d, bias=True)
        for part, rows, columns in (("c_fc", ff, d), ("c_proj", d, ff)):
            t.matrix(f"{at}.mlp.{part}", rows, columns, 1.5)
            t.bias(f"{at}.mlp.{part}", rows)
    t.norm("model.norm", d, bias=True)
    return t


def stablelm_tensors(c):
    t, d, h = Tensors(), c["hidden_size"], head_dim(c)
    embeddings(t, c, 0.8)
    for at in layers(c):
        t.norm(f"{at}.input_layernorm", d, bias=True)
        attention(t, f"{at}.self_attn", c, c["use_qkv_bias"])
        if c["qk_layernorm"]:
            for part, n in (("q", c["num_attention_heads"]), ("k", c["num_key_value_heads"])):
                for i in range(n):
                    t.norm(f"{at}.self_attn.{part}_layernorm.norms.{i}", h)
        if not c["use_parallel_residual"]:
            t.norm(f"{at}.post_attention_layernorm", d, bias=True)
        gated(t, f"{at}.mlp", c)
    t.norm("model.norm", d, bias=True)
    return t


def gpt2_tensors(c):
    t, d = Tensors(), c["n_embd"]
    t.matrix("transformer.wte", c["vocab_size"], d, 0.3 * math.sqrt(d))
    t.matrix("transformer.wpe", c["n_positions"], d, 0.2 * math.sqrt(d))
    for i in range(c["n_layer"]):
        at = f"transformer.h.{i}"
        t.norm(f"{at}.ln_1", d, bias=True)
        t.norm(f"{at}.ln_2", d, bias=True)
        for part, rows, columns in (("attn.c_attn", 3 * d, d), ("attn.c_proj", d, d),
                                    ("mlp.c_fc", 4 * d, d), ("mlp.c_proj", d, 4 * d)):
            t.turned(f"{at}.{part}", rows, columns, 1.4)
            t.bias(f"{at}.{part}", rows)
    t.norm("transformer.ln_f", d, bias=True)
    return t


# ---- The models ----------------------------------------------------------------------------------


def config(model_type, name, dtype, width, ff, n_layers, heads, kv_heads, tied, **others):
    return {
        "architectures": [name + "ForCausalLM"], "model_type": model_type,
        "vocab_size": N_VOCAB, "hidden_size": width, "intermediate_size": ff,
        "num_hidden_layers": n_layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "max_position_embeddings": 256, "bos_token_id": BOS,
        "eos_token_id": EOS, "tie_word_embeddings": tied, "torch_dtype": dtype, "use_cache": True,
        "initializer_range": 0.02, "attention_dropout": 0.0, **others,
    }


SILU = {"hidden_act": "silu"}
GELU = {"hidden_activation": "gelu_pytorch_tanh"}
GEMMA3 = {**GELU, "rms_norm_eps": 1e-6, "head_dim": 32, "query_pre_attn_scalar": 24,
          "sliding_window": 24, "attention_bias": False, "attn_logit_softcapping": None,
          "final_logit_softcapping": None, "pad_token_id": 0}
STABLELM = {**SILU, "layer_norm_eps": 1e-5, "rope_theta": 10000, "partial_rotary_factor": 0.25,
            "hidden_dropout": 0.0, "rope_scaling": None}
LLAMA = {**SILU, "rms_norm_eps": 1e-5, "pretraining_tp": 1}

MODELS = {
    # q, k, v biases (that of the output is zero), positions divided by 4, head_dim 24
    "llama": (llama_tensors, config(
        "llama", "Llama", "float32", 64, 128, 4, 4, 2, False, **LLAMA, head_dim=24,
        attention_bias=True, rope_theta=10000.0, rope_scaling={"type": "linear", "factor": 4.0})),
    # a bias on every projection
    "llama_bias": (llama_tensors, config(
        "llama", "Llama", "bfloat16", 64, 128, 3, 4, 4, True, **LLAMA, attention_bias=True,
        mlp_bias=True, rope_theta=50000.0, rope_scaling=None)),
    # every layer sees 24 positions
    "mistral": (llama_tensors, config(
        "mistral", "Mistral", "bfloat16", 64, 128, 4, 8, 2, False, **SILU, rms_norm_eps=1e-5,
        rope_theta=10000.0, sliding_window=24)),
    "qwen2": (llama_tensors, config(
        "qwen2", "Qwen2", "bfloat16", 64, 160, 4, 4, 2, True, **SILU, rms_norm_eps=1e-6,
        rope_theta=1000000.0, use_sliding_window=False, sliding_window=24, max_window_layers=2)),
    # layers from the third on see 24 positions
    "qwen2_window": (llama_tensors, config(
        "qwen2", "Qwen2", "float32", 64, 128, 4, 4, 1, False, **SILU, rms_norm_eps=1e-6,
        rope_theta=1000000.0, use_sliding_window=True, sliding_window=24, max_window_layers=2)),
    # YaRN: 32 positions stretched to 256, so that pairs kept, blended and slowed all occur
    "qwen2_yarn": (llama_tensors, config(
        "qwen2", "Qwen2", "float32", 64, 128, 4, 4, 2, False, **SILU, rms_norm_eps=1e-6,
        rope_theta=10000.0, use_sliding_window=False, rope_scaling={
            "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
            "beta_fast": 4.0})),
    # windows on layers 0 and 2, both soft caps, scale 1/sqrt(20), embeddings times sqrt(96)
    "gemma2": (gemma_tensors, config(
        "gemma2", "Gemma2", "float32", 96, 128, 4, 4, 2, True, **GELU,
        hidden_act="gelu_pytorch_tanh", rms_norm_eps=1e-6, head_dim=32, rope_theta=10000.0,
        query_pre_attn_scalar=20, sliding_window=24, attn_logit_softcapping=4.0,
        final_logit_softcapping=6.0, attention_bias=False, cache_implementation="hybrid",
        pad_token_id=0)),
    # as saved by transformers 4: every third layer is global
    "gemma3_text": (gemma_tensors, config(
        "gemma3_text", "Gemma3", "float32", 80, 128, 4, 4, 1, True, **GEMMA3, rope_theta=1000000.0,
        rope_local_base_freq=10000.0, rope_scaling=None, sliding_window_pattern=3,
        cache_implementation="hybrid")),
    # as saved by transformers 5: rope by kind of layer, positions of global layers divided by 8
    "gemma3_text_scaled": (gemma_tensors, config(
        "gemma3_text", "Gemma3", "float32", 80, 128, 4, 4, 2, True, **GEMMA3,
        layer_types=["sliding_attention", "full_attention"] * 2, rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})),
    "gpt2": (gpt2_tensors, {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": N_VOCAB,
        "n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 128, "n_ctx": 128, "n_inner": None,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "bos_token_id": BOS,
        "eos_token_id": EOS, "torch_dtype": "float32", "attn_pdrop": 0.1, "embd_pdrop": 0.1,
        "resid_pdrop": 0.1, "initializer_range": 0.02, "use_cache": True,
        "scale_attn_weights": True, "reorder_and_upcast_attn": False,
        "scale_attn_by_inverse_layer_idx": False}),
    # fused projections, rope over 12 of 16 elements, every layer sees 24 positions
    "phi3": (phi3_tensors, config(
        "phi3", "Phi3", "bfloat16", 64, 128, 4, 4, 2, False, **SILU, rms_norm_eps=1e-5,
        rope_theta=10000.0, rope_scaling=None, partial_rotary_factor=0.75, sliding_window=24,
        original_max_position_embeddings=256, attention_bias=False, embd_pdrop=0.0,
        resid_pdrop=0.0, pad_token_id=EOS)),
    # LongRoPE on 8 of 16 elements: 128 positions trained for of 1024
    "phi3_longrope": (phi3_tensors, {**config(
        "phi3", "Phi3", "float32", 64, 128, 3, 4, 2, False, **SILU, rms_norm_eps=1e-5,
        rope_theta=10000.0, partial_rotary_factor=0.5, sliding_window=None,
        original_max_position_embeddings=128, rope_scaling={
            "type": "longrope", "short_factor": [1.0, 1.125, 1.5, 2.25],
            "long_factor": [1.0, 4.0, 16.0, 60.0]}), "max_position_embeddings": 1024}),
    # layer 1 without rope, against the default of every fourth
    "smollm3": (llama_tensors, config(
        "smollm3", "SmolLM3", "bfloat16", 64, 128, 4, 4, 2, True, **SILU, rms_norm_eps=1e-6,
        rope_theta=5000000.0, rope_scaling=None, no_rope_layers=[1, 0, 1, 1],
        no_rope_layer_interval=4, use_sliding_window=False, sliding_window=None,
        layer_types=["full_attention"] * 4, attention_bias=False, mlp_bias=False,
        max_window_layers=28, pretraining_tp=2)),
    # every key absent that the class has a default for: four key heads to eight query heads, rope
    # with base 2e6 on all layers but the fourth, tied
    "smollm3_defaults": (llama_tensors, config(
        "smollm3", "SmolLM3", "float32", 64, 128, 4, 8, 4, True),
        ["num_key_value_heads", "tie_word_embeddings"]),
    # norms after the blocks, q and k norms over all heads at once
    "olmo2": (olmo2_tensors, config(
        "olmo2", "Olmo2", "bfloat16", 64, 128, 4, 4, 2, False, **SILU, rms_norm_eps=1e-6,
        rope_parameters={"rope_theta": 500000.0, "rope_type": "default"}, attention_bias=False,
        pad_token_id=0)),
    "granite": (llama_tensors, config(
        "granite", "Granite", "bfloat16", 64, 128, 4, 4, 2, True, **SILU, rms_norm_eps=1e-5,
        rope_theta=10000.0, rope_scaling=None, attention_bias=False, mlp_bias=False,
        embedding_multiplier=6.0, residual_multiplier=0.7, attention_multiplier=0.9,
        logits_scaling=0.6)),
    # LayerNorm, biases, a feed-forward block without gate; every layer sees 24 positions
    "starcoder2": (starcoder2_tensors, config(
        "starcoder2", "Starcoder2", "float32", 64, 192, 4, 4, 2, True,
        hidden_act="gelu_pytorch_tanh", norm_epsilon=1e-5, norm_type="layer_norm",
        mlp_type="default", rope_theta=100000.0, sliding_window=24, use_bias=True,
        residual_dropout=0.0, embedding_dropout=0.0)),
    # LayerNorm with a gated block, rope over 4 of 16 elements
    "stablelm": (stablelm_tensors, config(
        "stablelm", "StableLm", "float32", 64, 128, 4, 4, 4, False, **STABLELM, use_qkv_bias=True,
        qk_layernorm=False, use_parallel_residual=False)),
    # both blocks on one norm's output; a LayerNorm of its own for each head of q and k
    "stablelm_parallel": (stablelm_tensors, config(
        "stablelm", "StableLm", "float32", 64, 128, 4, 4, 2, False, **STABLELM, use_qkv_bias=False,
        qk_layernorm=True, use_parallel_residual=True)),
}

# ---- Files ---------------------------------------------------------------------------------------


def little(values):
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def stored(seed, name, shape, mean, deviation, dtype):
    n = math.prod(shape)
    width = deviation * math.sqrt(3.0)
    floats = array.array("f", [mean + width * u for u in uniforms(f"{seed}/{name}", n)])
    if dtype == "float32":
        return little(floats)
    bits = array.array("I", floats.tobytes())
    # to nearest, ties to even
    return little(array.array("H", [(b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits]))


def safetensors(seed, tensors, dtype):
    header, chunks, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape, mean, deviation in sorted(tensors):
        data = stored(seed, name, shape, mean, deviation, dtype)
        header[name] = {"dtype": "F32" if dtype == "float32" else "BF16", "shape": shape,
                        "data_offsets": [at, at + len(data)]}
        chunks.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)


def token_ids(seed):
    ids = [int((u + 1.0) / 2.0 * N_VOCAB) for u in uniforms(f"{seed}/tokens", N_TOKENS)]
    return struct.pack(f"<{N_TOKENS}i", BOS, *ids[1:])


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(MODELS))
        return 0
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in MODELS:
        print(__doc__, file=sys.stderr)
        return 2
    name, folder, seed = sys.argv[1], sys.argv[2], "".join(sys.argv[1:4:2])
    tensors, c, *absent = MODELS[name]
    special = {"bos_token": CONTROL[0], "eos_token": CONTROL[1]}
    files = {
        "config.json": {key: value for key, value in c.items() if key not in sum(absent, [])},
        "generation_config.json": {"bos_token_id": BOS, "eos_token_id": EOS, "do_sample": False},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {**special, "add_bos_token": False, "model_max_length": 256,
                                  "tokenizer_class": "GPT2Tokenizer"},
    }
    os.makedirs(folder, exist_ok=True)
    for file, value in files.items():
        with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=2, ensure_ascii=False)
    with open(os.path.join(folder, "tokens.i32"), "wb") as f:
        f.write(token_ids(seed))
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(safetensors(seed, tensors(c), c["torch_dtype"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
