// report.mjs - what native.mjs, browser.mjs, visit.mjs, wasm.mjs measured -> docs/benchmarks.md,
// on stdout.
//
//     node report.mjs FOLDER
import fs from "node:fs";
import path from "node:path";

const [folder] = process.argv.slice(2);
const results = fs.readdirSync(folder).filter((name) => name.endsWith(".json")).sort()
    .map((name) => JSON.parse(fs.readFileSync(path.join(folder, name))));
const native = results.filter((r) => r.part === "native");
const browser = results.filter((r) => r.part === "browser");
const visits = results.filter((r) => r.part === "visit");
const modules = results.filter((r) => r.part === "wasm");

const unique = (values) => [...new Set(values)].join("; ");
const digits = (value) => (value >= 100 ? value.toFixed(0)
                           : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const spread = (s) => `${digits(s.median)} (${digits(s.low)}-${digits(s.high)})`;
const ratio = (r) => `**${r.median.toFixed(2)}** (${r.low.toFixed(2)}-${r.high.toFixed(2)})`;
const table = (head, rows) => [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
const percent = (part, whole) => (whole > 0 ? `${(100 * part / whole).toFixed(0)} %` : "-");

// "CPU : AVX = 1 | AVX2 = 1 | ..." -> the names alone.
const features = (text) => [...text.matchAll(/(\w+) = 1/g)].map((m) => m[1]).join(", ");

function where(list) {
    const m = list.map((r) => r.machine);
    return `${unique(m.map((x) => x.date))}; ${unique(m.map((x) => x.processor))}, ` +
        `${unique(m.map((x) => x.cores))} cores; ${unique(m.map((x) => x.system))}; load of the ` +
        `machine ${Math.min(...m.map((x) => x.load)).toFixed(1)} to ` +
        `${Math.max(...m.map((x) => x.load)).toFixed(1)}.`;
}

function nativePart() {
    const rows = native.flatMap((r) => ["prefill", "decode"].map((kind) => [
        r.shape, r.type, r.threads, `${kind} ${kind === "prefill" ? r.prompt : r.gen}`,
        spread(r[kind].ours), spread(r[kind].peer), ratio(r[kind].ratio), ratio(r[kind].cpu_ratio),
        `${percent(r[kind].cpu.ours.median, 1)} / ${percent(r[kind].cpu.peer.median, 1)}`]));
    const limits = native.map((r) => [
        r.shape, r.type, r.threads, r.kernels,
        `${(r.decode.ours.median * r.weight_bytes / 1e9).toFixed(1)}`,
        `${(r.read.median / 1e9).toFixed(1)}`,
        percent(r.decode.ours.median * r.weight_bytes, r.read.median),
        `${(r.prefill.ours.median * r.macs / 1e9).toFixed(0)}`,
        `${(r.peak.median / 1e9).toFixed(0)}`,
        percent(r.prefill.ours.median * r.macs, r.peak.median),
        `${percent(r.outside.prefill, 1)} / ${percent(r.outside.decode, 1)}`]);
    const weights = native.filter((r) => r.threads === native[0].threads).map((r) => [
        r.shape, r.type, `${(r.weight_bytes / 1e6).toFixed(1)}`,
        `${(r.tensor_bytes / 1e6).toFixed(1)}`,
        r.same_weights ? "the same weights"
                       : Object.entries(r.types).map(([t, n]) => `${n} ${t}`).join(", ")]);
    const binding = Math.min(...native.map((r) => r.binding_ms ?? Infinity)).toFixed(1);
    return `## Natively, beside llama.cpp

${where(native)} slm ${unique(native.map((r) => r.version))}, kernels
${unique(native.map((r) => r.kernels))}; ${unique(native.map((r) => r.peer_release))} as
node-llama-cpp ships it (${unique(native.map((r) => features(r.peer_system)))}), on the CPU, flash
attention on, F16 cache, batches of 512.

Tokens per second: median (lowest-highest) of turns taken alternately. Ratios are ours over
llama.cpp's: of the medians, and in brackets the lowest and highest of the turns. "per CPU" is the
same per second of processor time, which tells more where other processes took cores away: the last
column says which share of the threads' time ours and theirs had one. Of the time of
each token that llama.cpp decodes, ${binding} ms are the binding's and those of its own steps (as
measured with a model of 0.2 MB).

${table(["shape", "type", "threads", "measured", "slm", "llama.cpp", "ratio", "per CPU",
         "had cores"], rows)}

What the machine could do, with the same threads: GB/s that merely reading the weights reaches, and
GMAC/s of the kernel's multiplying instruction on registers alone. "outside": the share of the
threads' time in prefill and in decoding that is not spent multiplying matrices (\`slm-bench
--profile\`).

${table(["shape", "type", "threads", "kernels", "decode GB/s", "reading", "", "prefill GMAC/s",
         "peak", "", "outside"], limits)}

llama.cpp has no K-quants for rows that are not a multiple of 256 (SmolLM2: 576, Qwen2.5-0.5B: 896).
There its file has the types that its own quantizer falls back to, and is larger:

${table(["shape", "type", "our weights MB", "its MB", "its matrices"], weights)}
`;
}

function browserPart() {
    const rows = browser.flatMap((r) => ["prefill", "decode"].map((kind) => [
        r.shape, r.type, r.threads, r.about.ours.kernels,
        kind === "prefill" ? `prefill ${r.prompt}` : `decode ${r.gen} at ${r.prompt}`,
        spread(r[kind].ours), spread(r[kind].peer), ratio(r[kind].ratio),
        r[kind].avx2 ? spread(r[kind].avx2) : "-",
        r[kind].avx2_ratio ? ratio(r[kind].avx2_ratio) : "-"]));
    return `## In the browser, beside wllama

${where(browser)} ${unique(browser.map((r) => r.browser))}, headless, page isolated;
${unique(browser.map((r) => r.peer_release))} (llama.cpp
${unique(browser.map((r) => r.about.peer.release))}), without GPU, batches of 512, its own
timings. Ours are those of diagnostics(), the time that the page is given back to the browser
included. Beside them our native AVX2 kernels, which a browser's 128-bit vectors have to be measured
by.

${table(["shape", "type", "threads", "kernels", "measured", "slm", "wllama", "ratio",
         "slm native, AVX2", "ratio"], rows)}
`;
}

function visitPart() {
    const scaled = (s, by) => ({ median: s.median / by, low: s.low / by, high: s.high / by });
    const to = (n) => `visit, prompt of ${n}: s to the first token`;
    const row = (r, what, name, by) => [
        r.shape, r.type, r.threads, name, spread(scaled(r[what].ours, by)),
        spread(scaled(r[what].peer, by)), ratio(r[what].ratio)];
    const rows = visits.flatMap((r) => [
        row(r, "cold", `first ${to(r.short)}`, 1000),
        row(r, "cached", `next ${to(r.short)}`, 1000),
        row(r, "prompted", `next ${to(r.prompt)}`, 1000),
        row(r, "memory", "memory at the peak, MB", 1e6)]);
    const total = (code, of) => Object.values(code).reduce((sum, file) => sum + file[of], 0);
    const code = visits[visits.length - 1].code;
    const codeRows = [["slm", code.ours], ["wllama", code.peer]].map(([name, files]) => [
        name, Object.keys(files).map((file) => path.basename(file)).join(", "),
        total(files, "bytes"), total(files, "gzipped"),
        `${(total(files, "gzipped") / total(code.ours, "gzipped")).toFixed(1)}`]);
    return `## A visitor of a page, beside wllama

${where(visits)} ${unique(visits.map((r) => r.browser))}, headless, page isolated;
${unique(visits.map((r) => r.peer_release))}. Page, code and weights come from a server on the same
machine. Times run from the moment when the page is asked for; at the next visit, in a
browser started anew, the weights come from the engine's own cache. Memory is the high-water mark of
resident memory of the page's process, less that of a page without an engine
(${unique(visits.map((r) => (r.empty.median / 1e6).toFixed(0)))} MB). Ratios are wllama's over ours.

${table(["shape", "type", "threads", "measured", "slm", "wllama", "ratio"], rows)}

What a visitor fetches beside the weights:

${table(["", "files", "bytes", "gzipped", "ratio"], codeRows)}
`;
}

function wasmPart() {
    const rows = modules.flatMap((r) => Object.entries(r.modules).flatMap(
        ([name, kinds]) => ["prefill", "decode"].map((kind) => [
            r.shape, r.type, `${name}.wasm`, `${kind} ${kind === "prefill" ? r.prompt : r.gen}`,
            spread(kinds[kind].ours), spread(kinds[kind].avx2), ratio(kinds[kind].ratio)])));
    return `## The WebAssembly modules, beside our own AVX2 kernels

${where(modules)} Node ${unique(modules.map((r) => r.machine.node))}, one thread, in turns; tokens
per second of processor time. Decoding is measured behind the prompt.

${table(["shape", "type", "module", "measured", "in Node", "AVX2", "ratio"], rows)}
`;
}

process.stdout.write(`# Benchmarks

Written by \`make bench\`, which measures again on your machine. Models are synthetic: random
weights at the shapes of published models (\`slm-bench --synthetic\`), since speed does not depend
on values. Decoding includes choosing the likeliest token.

${[[native, nativePart], [browser, browserPart], [visits, visitPart], [modules, wasmPart]]
    .filter(([list]) => list.length).map(([, part]) => part()).join("\n")}`.replace(/\n+$/, "\n"));
