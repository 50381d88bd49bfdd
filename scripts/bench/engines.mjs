// engines.mjs - the two engines with one face, for the pages of browser.mjs and visit.mjs: load a
// model, tell about it, measure a run in tokens per second, or write the first token of a prompt.

const prompts = {
    /* Ids, and letters, each of which is a token of the made-up vocabulary; others each time. */
    ids: (n, turn) => Array.from({ length: n }, (_, i) => 1 + (i * 7919 + turn) % 500),
    letters: (n, turn) => Array.from({ length: n }, (_, i) => String.fromCharCode(
        97 + (i * 7 + i * i * turn) % 26)).join(""),
};

const slm = {
    turn: 0,
    async load({ context, threads, cache }) {
        const { Slm } = await import("/slm.js");
        this.model = await Slm.load("/model.slm", { context, threads, cache });
    },
    about() {
        return this.model.diagnostics();
    },
    async complete(prompt, maxTokens) {
        const ids = prompts.ids(prompt, ++this.turn);
        const generation = this.model.generate(ids, { maxTokens, temperature: 0, reuse: false });
        await generation.text();
        return generation.stats;
    },
    async run({ prompt, gen }) {
        const { promptRate, generateRate } = await this.complete(prompt, gen);
        return { prefill: promptRate, decode: generateRate };
    },
    async first({ prompt }) {
        await this.complete(prompt, 1);
    },
};

const wllama = {
    turn: 0,
    async load({ context, threads, cache }) {
        const { Wllama } = await import("/wllama/index.min.js");
        this.model = new Wllama({ default: "/wllama/wasm/wllama.wasm" },
                                { suppressNativeLog: true });
        await this.model.loadModelFromUrl(new URL("/model.gguf", location).href, {
            n_threads: threads, n_ctx: context, n_batch: 512, n_ubatch: 512, n_gpu_layers: 0,
            n_parallel: 1, warmup: false, useCache: cache });
    },
    async about() {
        const { Wllama } = await import("/wllama/index.min.js");
        return { threads: this.model.getNumThreads(), multithread: this.model.isMultithread(),
                 release: Wllama.getLibllamaVersion() };
    },
    async complete(prompt, max_tokens) {
        const answer = await this.model.createCompletion({
            prompt: prompts.letters(prompt, ++this.turn), max_tokens, temperature: 0,
            cache_prompt: false, ignore_eos: true });
        const t = answer.timings;
        if (!t || t.prompt_n < prompt - 1 || t.predicted_n < max_tokens) {
            throw new Error(`timings are ${JSON.stringify(t)}`);
        }
        return t;
    },
    async run({ prompt, gen }) {
        const t = await this.complete(prompt, gen);
        return { prefill: t.prompt_per_second, decode: t.predicted_per_second };
    },
    async first({ prompt }) {
        await this.complete(prompt, 1);
    },
};

const nothing = { async load() {}, async first() {} };

export const engines = { slm, wllama, nothing };
