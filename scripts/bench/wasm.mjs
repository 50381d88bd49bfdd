// wasm.mjs - the WebAssembly modules in this Node and our own AVX2 kernels in turns: tokens per
// second of processor time with one thread, and what share of the native speed is left.
//
//     node wasm.mjs WORK BIN SHAPE TYPE [--modules NAMES] [--rounds 5] [--prompt 512] [--gen 64]
//
// dist/ must be there. The results go into WORK/results/wasm-SHAPE-TYPE.json. Decoding is measured
// behind the prompt. A recent Node has the compiler of a recent Chromium; Node 20 does not.
import fs from "node:fs";
import path from "node:path";
import v8 from "node:v8";
import { parseArgs } from "node:util";
import { Slm } from "../../dist/slm.js";
import { run } from "./models.mjs";
import { machine, ratios, summary } from "./statistics.mjs";

const { values: o, positionals: [work, bin, shape, type] } = parseArgs({
    allowPositionals: true,
    options: { modules: { type: "string", default: "slm-relaxed16,slm" },
               rounds: { type: "string", default: "5" },
               prompt: { type: "string", default: "512" }, gen: { type: "string", default: "64" } },
});
const [prompt, gen] = [Number(o.prompt), Number(o.gen)];

function modelFile() {
    const folder = path.join(work, "models"), file = path.join(folder, `${shape}-${type}.slm`);
    if (!fs.existsSync(file)) {
        fs.mkdirSync(folder, { recursive: true });
        run(`${bin}/slm-bench`, ["--synthetic", shape, "--type", type, "--write", file]);
    }
    return file;
}

function native(file) {
    const { results } = JSON.parse(run(`${bin}/slm-bench`, [
        file, "--kernels", "avx2", "--threads", 1, "--prompt", prompt, "--gen", gen, "--depth",
        `0,${prompt}`, "--repeat", 1, "--json"]));
    const rate = (kind, depth) => {
        const r = results.find((x) => x.kind === kind && x.depth === depth);
        return r.tokens_per_second / r.cpu_shares[0];
    };
    return { prefill: rate("prefill", 0), decode: rate("decode", prompt) };
}

async function inNode(model, turn) {
    const ids = Array.from({ length: prompt }, (_, i) => 1 + (i * 7919 + turn) % 500);
    const session = await model.session(), times = [process.cpuUsage()];
    await session.append(ids);
    times.push(process.cpuUsage());
    await session.generate([1], { maxTokens: gen, temperature: 0 }).text();
    times.push(process.cpuUsage());
    await session.close();
    const [begun, filled, done] = times.map((t) => (t.user + t.system) / 1e6);
    return { prefill: prompt / (filled - begun), decode: gen / (done - filled) };
}

if (Number(process.versions.node.split(".")[0]) < 22) {
    v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
}
const file = modelFile(), names = o.modules.split(","), models = [];
for (const name of names) {
    const wasm = new URL(`../../dist/${name}.wasm`, import.meta.url);
    models.push(await Slm.load(file, { wasm, threads: 1, context: prompt + gen + 16 }));
}
const rates = Object.fromEntries(["avx2", ...names].map((k) => [k, { prefill: [], decode: [] }]));
for (let turn = -1; turn < Number(o.rounds); turn++) { /* the first until all is compiled */
    const each = { avx2: native(file) };
    for (const [i, name] of names.entries()) {
        each[name] = await inNode(models[i], turn + 1);
    }
    for (const [who, { prefill, decode }] of turn < 0 ? [] : Object.entries(each)) {
        rates[who].prefill.push(prefill);
        rates[who].decode.push(decode);
    }
}
models.forEach((model) => model.unload());
const result = { part: "wasm", shape, type, prompt, gen, machine: machine(), modules: {} };
for (const name of names) {
    result.modules[name] = {};
    for (const kind of ["prefill", "decode"]) {
        const ratio = ratios(rates[name][kind], rates.avx2[kind]);
        const [ours, avx2] = [summary(rates[name][kind]), summary(rates.avx2[kind])];
        result.modules[name][kind] = { ours, avx2, ratio };
        console.log(`wasm ${shape} ${type} ${name} ${kind}: ${ours.median.toFixed(1)}, avx2 ` +
                    `${avx2.median.toFixed(1)} tokens/s of processor time, ratio ` +
                    `${ratio.median.toFixed(2)} (${ratio.low.toFixed(2)} to ` +
                    `${ratio.high.toFixed(2)})`);
    }
}
fs.mkdirSync(path.join(work, "results"), { recursive: true });
fs.writeFileSync(path.join(work, "results", `wasm-${shape}-${type}.json`),
                 JSON.stringify(result, null, 1));
