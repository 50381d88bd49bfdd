// llama_worker.mjs - llama.cpp through node-llama-cpp, in a process of its own: takes what to
// measure from its parent, one thing at a time, and answers with seconds.
//
//     fork("llama_worker.mjs", [MODEL.gguf, threads, context, folder of node_modules])
import { createRequire } from "node:module";
import nodePath from "node:path";
import { pathToFileURL } from "node:url";

const [modelPath, threads, context, folder] = process.argv.slice(2);
const resolve = createRequire(nodePath.resolve(folder, "package.json")).resolve;
const { getLlama } = await import(pathToFileURL(resolve("node-llama-cpp")));

// The shipped binary for this machine, on its processor alone.
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error",
                               maxThreads: Number(threads) });
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const session = await model.createContext({
    contextSize: Number(context), batchSize: 512, flashAttention: true,
    threads: { ideal: Number(threads), min: Number(threads) },
});
const sequence = session.getSequence();
const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const ids = (n) => Array.from({ length: n },
                              (_, i) => Number(BigInt(i) * 2654435761n % BigInt(vocabulary - 1)));

async function prefill(n) {
    await sequence.clearHistory();
    const start = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(ids(n));
    return (performance.now() - start) / 1e3;
}

// The likeliest token each time; the first step evaluates one token, as every other.
async function decode(n) {
    await sequence.clearHistory();
    let made = 0;
    const start = performance.now();
    for await (const _ of sequence.evaluate(ids(1), { temperature: 0, yieldEogToken: true })) {
        if (++made === n) {
            return (performance.now() - start) / 1e3;
        }
    }
    throw new Error(`the generation ended after ${made} tokens`);
}

process.on("message", async ({ kind, tokens }) => {
    try {
        const before = process.cpuUsage();
        const seconds = await (kind === "prefill" ? prefill : decode)(tokens);
        const { user, system } = process.cpuUsage(before);
        process.send({ seconds, cpu_seconds: (user + system) / 1e6 });
    } catch (error) {
        process.send({ error: String(error) });
    }
});
process.send({ ready: true, threads: session.currentThreads,
               release: `llama.cpp ${llama.llamaCppRelease.release}`, system: llama.systemInfo });
