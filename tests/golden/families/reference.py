#!/usr/bin/python3
"""Logits of a Hugging Face checkpoint, computed in float64 from the published formulas.

reference.py NAME FOLDER OUT      NAME is printed only; the family is read from config.json

Slow, plain and separate from the project: it shares no code with it and imports only NumPy. The
sources of the formulas are listed in README.md. OUT receives raw little-endian f32, one row of the
vocabulary for each id of FOLDER/tokens.i32.
"""
import glob
import json
import os
import sys

import numpy as np

# ---- Checkpoint ----------------------------------------------------------------------------------


def read_weights(folder):
    weights = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as f:
            blob = f.read()
        start = 8 + int.from_bytes(blob[:8], "little")
        for name, entry in json.loads(blob[8:start]).items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            raw = blob[start + begin:start + end]
            if entry["dtype"] == "BF16":
                values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
            weights[name] = values.astype(np.float64).reshape(entry["shape"])
    return weights


class Layer:
    """The tensors below one prefix."""

    def __init__(self, weights, prefix):
        self.weights, self.prefix = weights, prefix

    def __getitem__(self, name):
        return self.weights[self.prefix + name]

    def linear(self, name, x):
        bias = self.weights.get(f"{self.prefix}{name}.bias", 0.0)
        return x @ self[f"{name}.weight"].T + bias


# ---- Pieces --------------------------------------------------------------------------------------


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + eps) * weight + bias


def silu(x):
    return x / (1.0 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def soft_cap(x, cap):
    return x if cap is None else cap * np.tanh(x / cap)


def activation(config):
    name = config.get("hidden_activation") or config["hidden_act"]
    return {"silu": silu, "gelu_pytorch_tanh": gelu_tanh}[name]


def split_heads(x, n):
    return x.reshape(len(x), n, -1)


def frequencies(n, theta, scaling=None):
    """Angle per position of each of the n / 2 pairs of rotated elements."""
    f = theta ** (-np.arange(0, n, 2) / n)
    kind = (scaling or {}).get("rope_type") or (scaling or {}).get("type") or "default"
    if kind == "linear":
        return f / scaling["factor"]
    if kind == "llama3":
        turns = scaling["original_max_position_embeddings"] * f / (2.0 * np.pi)
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
        return kept * f + (1.0 - kept) * f / scaling["factor"]
    if kind == "yarn":
        turns = scaling["original_max_position_embeddings"] / (2.0 * np.pi)
        pair = [n / 2 * np.log(turns / scaling.get(key, usual)) / np.log(theta)
                for key, usual in (("beta_fast", 32), ("beta_slow", 1))]
        first, last = max(np.floor(pair[0]), 0), min(np.ceil(pair[1]), n - 1)
        slowed = np.clip((np.arange(n // 2) - first) / (last - first), 0.0, 1.0)
        return slowed * f / scaling["factor"] + (1.0 - slowed) * f
    if kind == "longrope":  # the text is shorter than the original context
        return f / np.array(scaling["short_factor"])
    assert kind == "default", kind
    return f


def magnitude(config, scaling):
    """What cosines and sines are multiplied with."""
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "yarn":
        return scaling.get("attention_factor") or 1.0 + 0.1 * np.log(scaling["factor"])
    if kind == "longrope":
        original = config["original_max_position_embeddings"]
        return np.sqrt(1.0 + np.log(config["max_position_embeddings"] / original)
                       / np.log(original))
    return 1.0


def rotate(x, rope):
    """x: [position, head, element]; rope: frequencies, or these and a magnitude. Element i turns
    with element i + len(frequencies), the rest stay."""
    f, scale = rope if isinstance(rope, tuple) else (rope, 1.0)
    n = len(f)
    angle = np.arange(len(x))[:, None, None] * f
    a, b, c, s = x[..., :n], x[..., n:2 * n], scale * np.cos(angle), scale * np.sin(angle)
    return np.concatenate([a * c - b * s, b * c + a * s, x[..., 2 * n:]], axis=-1)


def attend(q, k, v, scale, window=None, cap=None):
    """q: [position, head, element]; consecutive query heads share one of the fewer k, v heads.
    A position sees itself and those before it, `window` of them at most."""
    n, share = len(q), q.shape[1] // k.shape[1]
    age = np.arange(n)[:, None] - np.arange(n)[None, :]
    seen = (age >= 0) & (age < (window or n))
    out = np.empty(q.shape[:2] + v.shape[2:])
    for head in range(q.shape[1]):
        scores = soft_cap(q[:, head] @ k[:, head // share].T * scale, cap)
        scores = np.where(seen, scores, -np.inf)
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = p / p.sum(axis=-1, keepdims=True) @ v[:, head // share]
    return out.reshape(n, -1)


class Model:
    """What the families below have in common."""

    def __init__(self, config, weights):
        self.c, self.w = config, weights
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.width = config.get("head_dim") or config["hidden_size"] // self.heads
        self.scale = self.width**-0.5
        self.act = activation(config)

    def layers(self):
        return [Layer(self.w, f"model.layers.{i}.") for i in range(self.c["num_hidden_layers"])]

    def embed(self, ids):
        return self.w["model.embed_tokens.weight"][ids]

    def output(self, x):
        tied = self.c.get("tie_word_embeddings", False)
        return x @ self.w["model.embed_tokens.weight" if tied else "lm_head.weight"].T

    def rope(self):
        rope = self.c.get("rope_parameters") or self.c.get("rope_scaling") or {}
        theta = rope.get("rope_theta") or self.c.get("rope_theta", 10000.0)
        n = int(self.width * self.c.get("partial_rotary_factor", 1.0))
        return frequencies(n, theta, rope), magnitude(self.c, rope)

    def qkv(self, layer, x):
        return [split_heads(layer.linear(f"self_attn.{part}_proj", x), n)
                for part, n in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads))]

    def gated(self, layer, x):
        gate = self.act(layer.linear("mlp.gate_proj", x))
        return layer.linear("mlp.down_proj", gate * layer.linear("mlp.up_proj", x))


# ---- Families ------------------------------------------------------------------------------------


SMOLLM3 = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 2e6, "num_key_value_heads": 4,
           "tie_word_embeddings": True, "no_rope_layers": None}


def llama_like(config, weights, ids):
    """llama, mistral, qwen2, qwen3, smollm3, granite."""
    if config["model_type"] == "smollm3":  # what its class assumes
        config = {**SMOLLM3, **config}
    m, eps = Model(config, weights), config["rms_norm_eps"]
    kind, n_layers, rope = config["model_type"], config["num_hidden_layers"], m.rope()
    windows, turned = [None] * n_layers, [True] * n_layers
    if kind == "mistral":
        windows = [config["sliding_window"]] * n_layers
    if kind in ("qwen2", "qwen3") and config.get("use_sliding_window"):
        first = config["max_window_layers"]
        windows = [config["sliding_window"] if i >= first else None for i in range(n_layers)]
    if kind == "smollm3":
        turned = config["no_rope_layers"] or [(i + 1) % 4 != 0 for i in range(n_layers)]
    x = m.embed(ids) * config.get("embedding_multiplier", 1.0)
    scale = config.get("attention_multiplier", m.scale)
    residual = config.get("residual_multiplier", 1.0)
    for layer, window, turn in zip(m.layers(), windows, turned):
        h = rms_norm(x, layer["input_layernorm.weight"], eps)
        q, k, v = m.qkv(layer, h)
        if kind == "qwen3":
            q = rms_norm(q, layer["self_attn.q_norm.weight"], eps)
            k = rms_norm(k, layer["self_attn.k_norm.weight"], eps)
        if turn:
            q, k = rotate(q, rope), rotate(k, rope)
        h = layer.linear("self_attn.o_proj", attend(q, k, v, scale, window))
        x = x + residual * h
        h = rms_norm(x, layer["post_attention_layernorm.weight"], eps)
        x = x + residual * m.gated(layer, h)
    logits = m.output(rms_norm(x, weights["model.norm.weight"], eps))
    return logits / config.get("logits_scaling", 1.0)


def gemma(config, weights, ids):
    """gemma2, gemma3_text: a norm before and after each block, weights stored less one."""
    m, eps, third = Model(config, weights), config["rms_norm_eps"], config["model_type"] != "gemma2"
    n_layers = config["num_hidden_layers"]
    if config.get("layer_types"):
        local = [kind == "sliding_attention" for kind in config["layer_types"]]
    else:
        period = config["sliding_window_pattern"] if third else 2
        local = [(i + 1) % period != 0 for i in range(n_layers)]
    newer = config.get("rope_parameters")
    if not third:
        near = far = m.rope()
    elif newer:
        near, far = (frequencies(m.width, newer[kind]["rope_theta"], newer[kind])
                     for kind in ("sliding_attention", "full_attention"))
    else:
        near = frequencies(m.width, config["rope_local_base_freq"])
        far = m.rope()

    def norm(x, weight):
        return rms_norm(x, 1.0 + weight, eps)

    x = m.embed(ids) * np.sqrt(config["hidden_size"])
    for layer, is_local in zip(m.layers(), local):
        q, k, v = m.qkv(layer, norm(x, layer["input_layernorm.weight"]))
        if third:
            q = norm(q, layer["self_attn.q_norm.weight"])
            k = norm(k, layer["self_attn.k_norm.weight"])
        rope = near if is_local else far
        h = attend(rotate(q, rope), rotate(k, rope), v, config["query_pre_attn_scalar"]**-0.5,
                   config["sliding_window"] if is_local else None,
                   config.get("attn_logit_softcapping"))
        h = layer.linear("self_attn.o_proj", h)
        x = x + norm(h, layer["post_attention_layernorm.weight"])
        h = m.gated(layer, norm(x, layer["pre_feedforward_layernorm.weight"]))
        x = x + norm(h, layer["post_feedforward_layernorm.weight"])
    logits = m.output(norm(x, weights["model.norm.weight"]))
    return soft_cap(logits, config.get("final_logit_softcapping"))


def olmo2(config, weights, ids):
    """Norms on what the blocks return; q and k are normalised over all heads together."""
    m, eps = Model(config, weights), config["rms_norm_eps"]
    rope, x = m.rope(), m.embed(ids)
    for layer in m.layers():
        q = rms_norm(layer.linear("self_attn.q_proj", x), layer["self_attn.q_norm.weight"], eps)
        k = rms_norm(layer.linear("self_attn.k_proj", x), layer["self_attn.k_norm.weight"], eps)
        v = split_heads(layer.linear("self_attn.v_proj", x), m.kv_heads)
        q = rotate(split_heads(q, m.heads), rope)
        k = rotate(split_heads(k, m.kv_heads), rope)
        h = layer.linear("self_attn.o_proj", attend(q, k, v, m.scale))
        x = x + rms_norm(h, layer["post_attention_layernorm.weight"], eps)
        h = m.gated(layer, x)
        x = x + rms_norm(h, layer["post_feedforward_layernorm.weight"], eps)
    return m.output(rms_norm(x, weights["model.norm.weight"], eps))


def phi3(config, weights, ids):
    """q, k, v in one matrix, gate and up in another."""
    m, eps = Model(config, weights), config["rms_norm_eps"]
    rope, x = m.rope(), m.embed(ids)
    nq, nk = m.heads * m.width, m.kv_heads * m.width
    for layer in m.layers():
        h = layer.linear("self_attn.qkv_proj", rms_norm(x, layer["input_layernorm.weight"], eps))
        q = rotate(split_heads(h[:, :nq], m.heads), rope)
        k = rotate(split_heads(h[:, nq:nq + nk], m.kv_heads), rope)
        v = split_heads(h[:, nq + nk:], m.kv_heads)
        h = attend(q, k, v, m.scale, config.get("sliding_window"))
        x = x + layer.linear("self_attn.o_proj", h)
        h = rms_norm(x, layer["post_attention_layernorm.weight"], eps)
        gate, up = np.split(layer.linear("mlp.gate_up_proj", h), 2, axis=-1)
        x = x + layer.linear("mlp.down_proj", m.act(gate) * up)
    return m.output(rms_norm(x, weights["model.norm.weight"], eps))


def starcoder2(config, weights, ids):
    m, eps = Model(config, weights), config["norm_epsilon"]
    rope, x = m.rope(), m.embed(ids)

    def norm(tensors, name, x):
        return layer_norm(x, tensors[name + ".weight"], tensors[name + ".bias"], eps)

    for layer in m.layers():
        q, k, v = m.qkv(layer, norm(layer, "input_layernorm", x))
        h = attend(rotate(q, rope), rotate(k, rope), v, m.scale, config.get("sliding_window"))
        x = x + layer.linear("self_attn.o_proj", h)
        h = layer.linear("mlp.c_fc", norm(layer, "post_attention_layernorm", x))
        x = x + layer.linear("mlp.c_proj", m.act(h))
    return m.output(norm(weights, "model.norm", x))


def stablelm(config, weights, ids):
    m, eps = Model(config, weights), config["layer_norm_eps"]
    rope, x = m.rope(), m.embed(ids)

    def norm(tensors, name, x):
        return layer_norm(x, tensors[name + ".weight"], tensors[name + ".bias"], eps)

    def norm_heads(layer, part, x):
        name = f"self_attn.{part}_layernorm.norms."
        return np.stack([layer_norm(x[:, i], layer[f"{name}{i}.weight"], 0.0, eps)
                         for i in range(x.shape[1])], axis=1)

    for layer in m.layers():
        first = norm(layer, "input_layernorm", x)
        q, k, v = m.qkv(layer, first)
        if config.get("qk_layernorm"):
            q, k = norm_heads(layer, "q", q), norm_heads(layer, "k", k)
        h = attend(rotate(q, rope), rotate(k, rope), v, m.scale)
        h = layer.linear("self_attn.o_proj", h)
        if config.get("use_parallel_residual"):
            x = x + h + m.gated(layer, first)
        else:
            x = x + h
            x = x + m.gated(layer, norm(layer, "post_attention_layernorm", x))
    return m.output(norm(weights, "model.norm", x))


def gpt2(config, weights, ids):
    """Learned positions; matrices stored [inputs, outputs]."""
    eps, n = config["layer_norm_epsilon"], config["n_head"]
    scale = (config["n_embd"] // n)**-0.5
    w = {name.removeprefix("transformer."): value for name, value in weights.items()}

    def norm(name, x):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"], eps)

    def project(name, x):
        return x @ w[name + ".weight"] + w[name + ".bias"]

    x = w["wte.weight"][ids] + w["wpe.weight"][:len(ids)]
    for i in range(config["n_layer"]):
        at = f"h.{i}."
        h = project(at + "attn.c_attn", norm(at + "ln_1", x))
        q, k, v = (split_heads(part, n) for part in np.split(h, 3, axis=-1))
        x = x + project(at + "attn.c_proj", attend(q, k, v, scale))
        h = gelu_tanh(project(at + "mlp.c_fc", norm(at + "ln_2", x)))
        x = x + project(at + "mlp.c_proj", h)
    return norm("ln_f", x) @ w["wte.weight"].T


FAMILIES = {
    "llama": llama_like, "mistral": llama_like, "qwen2": llama_like, "qwen3": llama_like,
    "smollm3": llama_like, "granite": llama_like, "gemma2": gemma, "gemma3_text": gemma,
    "olmo2": olmo2, "phi3": phi3, "starcoder2": starcoder2, "stablelm": stablelm, "gpt2": gpt2,
}


def logits_of(folder, change=None):
    """change: called with the configuration before it is used, to see what a key does."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    if change:
        change(config)
    ids = np.fromfile(os.path.join(folder, "tokens.i32"), "<i4")
    return FAMILIES[config["model_type"]](config, read_weights(folder), ids)


def main():
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    name, folder, out = sys.argv[1:]
    logits = logits_of(folder)
    logits.astype("<f4").tofile(out)
    print(f"{name}: {logits.shape[0]} x {logits.shape[1]} logits, standard deviation "
          f"{logits.std():.3g}, largest {np.abs(logits).max():.3g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
