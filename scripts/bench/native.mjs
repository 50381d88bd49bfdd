// native.mjs - slm-bench and llama.cpp in turns on the same weights: speeds and ratios.
//
//     node native.mjs WORK BIN SHAPE TYPE [--threads 1,2] [--rounds 5] [--prompt 512] [--gen 128]
//
// WORK: build/bench, with node_modules; models are made there. BIN: where slm-bench is. What was
// measured goes into WORK/results/native-SHAPE-TYPE-THREADS.json, which report.mjs reads.
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeModels, run } from "./models.mjs";
import { machine, ratios, summary } from "./statistics.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const { values: o, positionals: [work, bin, shape, type] } = parseArgs({
    allowPositionals: true,
    options: {
        threads: { type: "string", default: "1,2" }, rounds: { type: "string", default: "5" },
        prompt: { type: "string", default: "512" }, gen: { type: "string", default: "128" },
    },
});
const [prompt, gen] = [Number(o.prompt), Number(o.gen)];
const LIMIT_MS = 120000; // of one measurement; spinning threads that share a core can take hours

// ---- The two engines ----------------------------------------------------------------------------

function ask(worker, message) {
    let timer;
    return new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer from llama.cpp in ${LIMIT_MS} ms`)),
                           LIMIT_MS);
        worker.once("message", (answer) => (answer.error ? reject(new Error(answer.error))
                                                         : resolve(answer)));
        worker.once("exit", (code) => reject(new Error(`llama.cpp ended, code ${code}`)));
        if (message) {
            worker.send(message);
        }
    }).finally(() => {
        clearTimeout(timer);
        worker.removeAllListeners();
    });
}

async function startPeer(gguf, threads) {
    const worker = fork(path.join(here, "llama_worker.mjs"),
                        [gguf, threads, prompt + gen + 64, work],
                        { stdio: ["ignore", 2, 2, "ipc"] });
    const about = await ask(worker);
    const rate = async (kind, tokens) => {
        const answer = await ask(worker, { kind, tokens });
        return { rate: tokens / answer.seconds,
                 cpu: answer.cpu_seconds / answer.seconds / threads };
    };
    return { worker, about, rate };
}

function ours(slm, threads, ...more) {
    const text = run(`${bin}/slm-bench`, [slm, "--threads", threads, "--prompt", prompt, "--gen",
                                          gen, "--repeat", 1, "--json", ...more]);
    const document = JSON.parse(text);
    const of = (kind) => document.results.find((r) => r.kind === kind);
    return { prefill: of("prefill"), decode: of("decode"), version: document.version,
             weight_bytes: document.model.weight_bytes };
}

// ---- In turns -----------------------------------------------------------------------------------

async function compare(files, threads) {
    const peer = await startPeer(files.gguf, threads);
    try {
        await takeTurns(files, threads, peer);
    } finally {
        peer.worker.kill("SIGKILL");
    }
}

async function takeTurns(files, threads, peer) {
    const rates = { ours: { prefill: [], decode: [] }, peer: { prefill: [], decode: [] } };
    const cpu = { ours: { prefill: [], decode: [] }, peer: { prefill: [], decode: [] } };
    const machineRates = { read: [], peak: [] };
    await peer.rate("prefill", 32);
    let last;
    for (let i = 0; i < Number(o.rounds); i++) {
        last = ours(files.slm, threads);
        machineRates.read.push(last.decode.read_bytes_per_second);
        machineRates.peak.push(last.decode.peak_macs_per_second ?? 0);
        for (const kind of ["prefill", "decode"]) {
            rates.ours[kind].push(last[kind].tokens_per_second);
            cpu.ours[kind].push(last[kind].cpu_shares[0]);
            const theirs = await peer.rate(kind, kind === "prefill" ? prompt : gen);
            rates.peer[kind].push(theirs.rate);
            cpu.peer[kind].push(theirs.cpu);
        }
    }
    const profiled = ours(files.slm, threads, "--profile");
    const result = { part: "native", shape, type, threads, prompt, gen, machine: machine(),
                     kernels: last.decode.kernels, version: last.version,
                     weight_bytes: last.weight_bytes, peer_release: peer.about.release,
                     peer_system: peer.about.system, peer_threads: peer.about.threads,
                     outside: { prefill: profiled.prefill.profile.outside_matrices,
                                decode: profiled.decode.profile.outside_matrices },
                     binding_ms, ...JSON.parse(fs.readFileSync(files.facts)),
                     macs: last.prefill.macs_per_second / last.prefill.tokens_per_second,
                     read: summary(machineRates.read), peak: summary(machineRates.peak) };
    for (const kind of ["prefill", "decode"]) {
        result[kind] = { ours: summary(rates.ours[kind]), peer: summary(rates.peer[kind]),
                         cpu: { ours: summary(cpu.ours[kind]), peer: summary(cpu.peer[kind]) },
                         ratio: ratios(rates.ours[kind], rates.peer[kind]) };
        const perCpu = ["ours", "peer"].map((who) => rates[who][kind].map(
            (rate, i) => rate / cpu[who][kind][i]));
        result[kind].cpu_ratio = ratios(...perCpu);
        const { ours: a, peer: b, ratio, cpu: had, cpu_ratio } = result[kind];
        console.log(`${shape} ${type} ${threads} threads ${kind}: ours ${a.median.toFixed(1)}, ` +
                    `llama.cpp ${b.median.toFixed(1)} tokens/s, ratio ${ratio.median.toFixed(2)} ` +
                    `(${ratio.low.toFixed(2)} to ${ratio.high.toFixed(2)}); per CPU second ` +
                    `${cpu_ratio.median.toFixed(2)} (had ${had.ours.median.toFixed(2)} and ` +
                    `${had.peer.median.toFixed(2)} of the cores)`);
    }
    const folder = path.join(work, "results");
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(folder, `native-${shape}-${type}-${threads}.json`),
                     JSON.stringify(result, null, 1));
}

// What a token costs the peer besides its weights: calls from JavaScript, building a graph.
async function bindingMs() {
    const peer = await startPeer(makeModels(work, bin, "tiny", "Q8_0").gguf, 1);
    const rates = [];
    for (let i = 0; i < 4; i++) {
        rates.push((await peer.rate("decode", 128)).rate);
    }
    peer.worker.kill("SIGKILL");
    return 1e3 / Math.max(...rates);
}

const files = makeModels(work, bin, shape, type);
const binding_ms = await bindingMs();
for (const threads of o.threads.split(",")) {
    await compare(files, Number(threads)).catch((error) => {
        console.error(`${shape} ${type} ${threads} threads: ${error.message}`);
        process.exitCode = 1;
    });
}
