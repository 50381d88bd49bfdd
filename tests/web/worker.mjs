/* worker.mjs - a Worker of the test page: each module, with one thread and with two; then what
 * slm.js chooses by itself. */
import { Slm } from "/slm.js";

async function run(order, options) {
    const model = await Slm.load("/model.slm", options);
    const g = model.generate(order.prompt, order.options);
    await g.text();
    const { threads, kernels } = model.diagnostics();
    model.unload();
    return { digest: g.digest, threads, kernels };
}

onmessage = async ({ data: order }) => {
    const runs = {};
    for (const name of order.modules) {
        for (const threads of name.endsWith("threads") ? [1, 2] : [1]) {
            runs[`${name} ${threads}`] = await run(order, { wasm: `/${name}.wasm`, threads })
                .catch((e) => ({ error: `${e.code ?? ""} ${e.stack}` }));
        }
    }
    runs.chosen = await run(order).catch((e) => ({ error: `${e.code ?? ""} ${e.stack}` }));
    postMessage(runs);
};
