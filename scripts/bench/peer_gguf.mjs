// peer_gguf.mjs - a GGUF file of a synthetic model -> one that llama.cpp runs: a made-up vocabulary
// is added, which it does not load without, and where it cannot hold the types of the file asked
// for, the types that its own quantizer falls back to are put in their place, with random weights.
//
//     node peer_gguf.mjs IN.gguf OUT.gguf [MIX]
//
// Without MIX tensors are copied as they are. With one (Q4_K_M, Q5_K_M, Q6_K, Q8_0, Q4_0) IN gives
// names and shapes alone; rules and fallbacks are those of llama-quantize, docs/benchmarks.md.
import fs from "node:fs";

const TYPES = { // GGML's numbers: [id, elements of a block, bytes of a block, offsets of halves]
  F32: [0, 1, 4, []], F16: [1, 1, 2, []], BF16: [30, 1, 2, []], Q4_0: [2, 32, 18, [0]],
  Q5_0: [6, 32, 22, [0]], Q5_1: [7, 32, 24, [0, 2]], Q8_0: [8, 32, 34, [0]],
  Q4_K: [12, 256, 144, [0, 2]], Q5_K: [13, 256, 176, [0, 2]], Q6_K: [14, 256, 210, [208]],
};
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, t]) => [t[0], name]));
const ALIGN = 32;

// ---- Reading ------------------------------------------------------------------------------------

function reader(bytes) {
  let at = 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sizes = [1, 1, 2, 2, 4, 4, 4, 1, -1, -2, 8, 8, 8];
  const r = {
    get at() { return at; },
    u32: () => (at += 4, view.getUint32(at - 4, true)),
    u64: () => (at += 8, Number(view.getBigUint64(at - 8, true))),
    text: () => { const n = r.u64(); at += n; return bytes.toString("utf8", at - n, at); },
    skip(type) {
      if (type === 8) {
        const n = r.u64(); // it moves at itself
        at += n;
      } else if (type === 9) {
        const inner = r.u32(), n = r.u64();
        for (let i = 0; i < n; i++) r.skip(inner);
      } else {
        at += sizes[type];
      }
    },
  };
  return r;
}

function readHeader(bytes) {
  const r = reader(bytes);
  if (r.u32() !== 0x46554747) throw new Error("not a GGUF file");
  r.u32();
  const nTensors = r.u64(), nKeys = r.u64(), keys = [], tensors = [];
  for (let i = 0; i < nKeys; i++) {
    const start = r.at, name = r.text();
    r.skip(r.u32());
    keys.push({ name, bytes: bytes.subarray(start, r.at) });
  }
  for (let i = 0; i < nTensors; i++) {
    const name = r.text(), dims = Array.from({ length: r.u32() }, () => r.u64());
    const type = NAMES[r.u32()];
    tensors.push({ name, dims, type, offset: r.u64() });
  }
  const data = Math.ceil(r.at / ALIGN) * ALIGN;
  return { keys, tensors, data };
}

// ---- Types as llama-quantize chooses them -------------------------------------------------------

const FALLBACK = { Q4_K: "Q5_0", Q5_K: "Q5_1", Q6_K: "Q8_0" };

function chooseType(t, mix, nLayers) {
  if (t.dims.length === 1) return "F32";
  const base = mix.replace(/_M$/, "");
  const layer = layerOf(t);
  const eighth = Math.floor(nLayers / 8);
  const late = Math.floor(7 * nLayers / 8);
  const more = layer < eighth || layer >= late || (layer - eighth) % 3 === 2;
  let type = base;
  if (t.name === "token_embd.weight") {
    type = base === "Q8_0" ? "Q8_0" : "Q6_K";
    return t.dims[0] % 256 === 0 ? type : "Q8_0";
  }
  if (mix.endsWith("_M") && more && /\.(attn_v|ffn_down)\.weight$/.test(t.name)) type = "Q6_K";
  return t.dims[0] % TYPES[type][1] === 0 ? type : FALLBACK[type];
}

const bytesOf = (t) => t.dims.reduce((a, b) => a * b, 1) / TYPES[t.type][1] * TYPES[t.type][2];

// Random codes under scales that keep sums finite.
function randomBlocks(t) {
  const out = Buffer.alloc(bytesOf(t));
  if (t.type === "F32") {
    for (let i = 0; i < out.length; i += 4) out.writeFloatLE(1, i);
    return out;
  }
  const [, , size, halves] = TYPES[t.type];
  let state = 0x9e3779b9;
  for (let i = 0; i + 4 <= out.length; i += 4) {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    out.writeInt32LE(state, i);
  }
  for (let i = 0; i < out.length; i += size) {
    for (const h of halves) out.writeUInt16LE(0x0800 + (out[i + h] & 0xff), i + h); // about 1e-4
  }
  return out;
}

// ---- Writing ------------------------------------------------------------------------------------

const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b; };
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(n)); return b; };
const text = (s) => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);
const key = (name, type, value) => Buffer.concat([text(name), u32(type), value]);
const array = (type, items) => Buffer.concat([u32(type), u64(items.length), ...items]);

// The character that stands for a byte in GPT-2's vocabulary.
function byteCharacter(byte) {
  const plain = (b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let others = 0;
  for (let b = 0; b < byte; b++) others += plain(b) ? 0 : 1;
  return String.fromCodePoint(plain(byte) ? byte : 256 + others);
}

// Every byte is a token, and no two of them merge in lower-case text: n letters are n tokens.
function vocabulary(n) {
  const names = Array.from({ length: n }, (_, i) => text(i < 256 ? byteCharacter(i) : `t${i}`));
  const end = u32(n - 1);
  return [
    key("tokenizer.ggml.model", 8, text("gpt2")),
    key("tokenizer.ggml.pre", 8, text("default")),
    key("tokenizer.ggml.tokens", 9, array(8, names)),
    key("tokenizer.ggml.token_type", 9, array(5, names.map(() => u32(1)))),
    key("tokenizer.ggml.merges", 9, array(8, [text("T T")])),
    key("tokenizer.ggml.bos_token_id", 4, end),
    key("tokenizer.ggml.eos_token_id", 4, end),
  ];
}

const [input, output, mix] = process.argv.slice(2);
const source = fs.openSync(input, "r");
const head = Buffer.alloc(Math.min(fs.fstatSync(source).size, 1 << 25));
fs.readSync(source, head, 0, head.length, 0);
const { keys, tensors, data } = readHeader(head);
const layerOf = (t) => Number((t.name.match(/^blk\.(\d+)\./) ?? [0, -1])[1]);
const nLayers = 1 + Math.max(...tensors.map(layerOf));
const nVocab = tensors.find((t) => t.name === "token_embd.weight").dims[1];
const kept = keys.filter((k) => !k.name.startsWith("tokenizer.")).map((k) => k.bytes);
const all = [...kept, ...vocabulary(nVocab)];
const made = tensors.map((t) => ({ ...t, type: mix ? chooseType(t, mix, nLayers) : t.type }));
let offset = 0;
const infos = made.map((t) => {
  const at = offset;
  offset = Math.ceil((at + bytesOf(t)) / ALIGN) * ALIGN;
  return Buffer.concat([text(t.name), u32(t.dims.length), ...t.dims.map(u64),
    u32(TYPES[t.type][0]), u64(at)]);
});
const front = Buffer.concat([u32(0x46554747), u32(3), u64(made.length), u64(all.length), ...all,
  ...infos]);
const out = fs.openSync(output, "w");
const pad = (n) => Buffer.alloc((ALIGN - n % ALIGN) % ALIGN);
fs.writeSync(out, Buffer.concat([front, pad(front.length)]));
made.forEach((t, i) => {
  let bytes = mix ? randomBlocks(t) : Buffer.alloc(bytesOf(t));
  if (!mix) fs.readSync(source, bytes, 0, bytes.length, data + tensors[i].offset);
  fs.writeSync(out, Buffer.concat([bytes, pad(bytes.length)]));
});
fs.closeSync(out);
const counts = {};
for (const t of made) if (t.dims.length > 1) counts[t.type] = (counts[t.type] ?? 0) + 1;
const total = made.reduce((sum, t) => sum + bytesOf(t), 0);
console.log(JSON.stringify({ tensor_bytes: total, types: counts }));
