/* variants.mjs - every module, with one thread and with two: text and digest as slm-run gives them;
 * threads that come, go, and get a memory that is too small at first. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import v8 from "node:v8";
import { Slm } from "../../dist/slm.js";
import * as native from "./native.mjs";
import { LACKS } from "./server.mjs";
import { finish, test } from "./tap.mjs";

const prompt = "once upon a time there was a little cat named";
const options = { maxTokens: 24, temperature: 0.8, seed: 7, digest: true };
const args = ["-n", "24", "--temp", "0.8", "--seed", "7"];

/* Node 20 has relaxed SIMD behind this flag, and compiles the dot product of 32 bits wrongly. */
const old = Number(process.versions.node.split(".")[0]) < 22;
if (old) {
    v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
}

const modules = ["slm", "slm-relaxed16", "slm-relaxed32"].flatMap((m) => [m, `${m}-threads`]);
for (const name of modules) {
    await test(`${name}.wasm: text and digest as slm-run gives them`, async () => {
        const wasm = new URL(`../../dist/${name}.wasm`, import.meta.url);
        if (!WebAssembly.validate(readFileSync(wasm))) {
            return "this Node has no relaxed SIMD";
        }
        if (old && name.includes("relaxed32")) {
            return "Node before 22 compiles the relaxed dot product wrongly";
        }
        for (const type of ["Q4_K_M", "Q8_0", "f16"]) {
            const path = native.model(type);
            const want = native.run(path, prompt, ...args);
            for (const threads of name.endsWith("threads") ? [1, 2, 5] : [1]) {
                const model = await Slm.load(path, { wasm, threads });
                const g = model.generate(prompt, options);
                assert.equal(await g.text(), want.text);
                assert.equal(g.digest, want.digest, `${type}, ${threads} threads`);
                assert.equal((await model.diagnostics()).threads, threads);
                model.unload();
            }
        }
    });
}

await test("threads stay the same through many texts", async () => {
    const path = native.model("Q4_K");
    const model = await Slm.load(path, { threads: 3 });
    const want = native.run(path, prompt, ...args);
    for (let i = 0; i < 10; i++) {
        const g = model.generate(prompt, options);
        await g.text();
        assert.equal(g.digest, want.digest);
        assert.equal(g.stats.promptTokens, (await model.tokenize(prompt)).length);
        assert.equal(g.stats.generatedTokens, 24);
    }
    model.unload();
});

await test("a shared memory may grow to what the model needs, and not further", async () => {
    const path = native.model("Q4_K");
    const small = await Slm.load(path, { threads: 2 });
    const size = readFileSync(path).length;
    const d = await small.diagnostics();
    assert.ok(d.memoryMaximumBytes < size + d.modelBytes + 2 * d.sessionBytes + 2 ** 25);
    small.unload();
    const model = await Slm.load(path, { threads: 2, context: 65536, kv: "f32" });
    const { memoryBytes, memoryMaximumBytes } = await model.diagnostics();
    assert.ok(memoryBytes > 2 ** 27 + size);
    assert.ok(memoryMaximumBytes >= memoryBytes && memoryMaximumBytes < 2 ** 31);
    const g = model.generate(prompt, options);
    await g.text();
    assert.equal(g.digest, native.run(path, prompt, ...args, "--kv", "f32").digest);
    model.unload();
});

for (const lack of ["no-shared", "no-second", "no-growth"]) {
    await test(`${lack}: one thread does the same without sharing, and says so`, async () => {
        const folder = join(native.folder, lack), worker = join(folder, "slm-worker.js");
        cpSync("dist", folder, { recursive: true });
        writeFileSync(worker, LACKS[lack] + readFileSync(worker, "utf8"));
        const { Slm } = await import(pathToFileURL(join(folder, "slm.js")));
        const path = native.model("Q4_K");
        const model = await Slm.load(path, { threads: 3 });
        const g = model.generate(prompt, options);
        assert.equal(await g.text(), native.run(path, prompt, ...args).text);
        assert.equal(g.digest, native.run(path, prompt, ...args).digest);
        const d = await model.diagnostics();
        assert.equal(d.threads, 1);
        assert.match(d.advice, /grants no memory for several threads to share/);
        model.unload();
        /* A module that was asked for is not replaced by another. */
        const wasm = pathToFileURL(join(folder, "slm-threads.wasm"));
        await assert.rejects(Slm.load(path, { threads: 3, wasm }), { code: "SLM_ERR_MEMORY" });
        await assert.rejects(Slm.load(Buffer.alloc(4096, 1), { threads: 3 }),
                             { code: "SLM_ERR_MAGIC" });
    });
}

await test("a number of threads that cannot be is refused", async () => {
    for (const threads of [0, 65, 1.5, "2", null]) {
        await assert.rejects(Slm.load(native.model("Q4_K"), { threads }),
                             { code: "SLM_ERR_ARGUMENT" });
    }
});

await test("a failed load leaves no thread behind", async () => {
    await assert.rejects(Slm.load(new Uint8Array(4096), { threads: 3 }), { code: "SLM_ERR_MAGIC" });
    await assert.rejects(Slm.load("no/such/file.slm", { threads: 3 }), { code: "SLM_WEB_FETCH" });
}); /* a Worker that was left would keep this process alive */

finish();
