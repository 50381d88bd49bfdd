/* slm.js - small language models in a web page, or in Node 20 and later, from one .slm file. No
 * dependency. Each model lives in a Worker (slm-worker.js), threads of it in others; this is the
 * face that they show to a page. slm.d.ts describes it.
 *
 *     import { Slm } from "./slm.js";
 *     const model = await Slm.load("model.slm");
 *     for await (const piece of model.generate("once upon a time", { maxTokens: 60, seed: 7 })) {
 *         document.body.append(piece);
 *     }
 */

const node = typeof process === "object" && process.versions?.node !== undefined;

export class SlmError extends Error {
    constructor(code, message, offset = 0) {
        super(message);
        this.name = "SlmError";
        this.code = code;
        this.offset = offset;
    }
}

/* Modules that workers have compiled, by URL, for the next ones. */
const modules = new Map();

/* ---- The Worker ------------------------------------------------------------------------------ */

const unloaded = () => new SlmError("SLM_WEB_UNLOADED", "the model has been unloaded");

/* Browsers do not say why. */
const NO_WORKER = "it must come from the page's origin, and with its Cross-Origin-Embedder-Policy";

/* Links that are owed an answer. Nothing else may hold them, and Firefox ends a worker that waits
 * for something and that nobody holds. */
const asked = new Set();

/* Calls to a worker and their answers; the threads that help it. Those are started from here, since
 * a worker that starts others waits for the page meanwhile, in Firefox now and then for ever. */
class Link {
    #worker;
    #Worker;
    #helpers = [];
    #calls = new Map(); /* by id: {resolve, reject, onEvent, signal} */
    #last = 0;
    #dead = null; /* why */

    static async open() {
        const link = new Link();
        link.#Worker = node ? (await import("node:worker_threads")).Worker : globalThis.Worker;
        link.#worker = link.#start(new URL("./slm-worker.js", import.meta.url),
                                   (message) => link.#answer(message));
        return link;
    }

    #start(url, onMessage) {
        const failed = (e) => {
            e.preventDefault?.();
            this.close(new SlmError("SLM_WEB_WORKER",
                                    `${url} cannot be run: ${e.message ?? NO_WORKER}`));
        };
        try {
            const worker = new this.#Worker(url, { type: "module" });
            if (node) {
                worker.on("message", onMessage).on("error", failed).unref();
            } else {
                worker.onmessage = ({ data }) => onMessage(data);
                worker.onerror = failed;
            }
            return worker;
        } catch (e) {
            failed(e);
            return null;
        }
    }

    #answer({ id, value, error, event, helpers, work }) {
        const call = this.#calls.get(id);
        if (event) {
            call?.onEvent?.(event);
        } else if (helpers !== undefined) {
            this.#help(helpers);
        } else if (work) {
            this.#helpers.forEach((helper) => helper?.postMessage(work));
        } else if (call) {
            this.#end(id, call);
            if (error) {
                call.reject(error.aborted ? call.signal.reason
                                          : new SlmError(error.code, error.message, error.offset));
            } else {
                call.resolve(value);
            }
        }
    }

    /* n threads instead of those that there are. */
    #help(n) {
        let joined = 0;
        const onMessage = () => ++joined === n && this.#worker?.postMessage({ joined: true });
        this.#helpers.forEach((helper) => helper?.terminate());
        this.#helpers = Array.from({ length: n }, () => this.#start(
            new URL("./slm-thread.js", import.meta.url), onMessage));
    }

    #end(id, { signal, abort }) {
        signal?.removeEventListener("abort", abort);
        this.#calls.delete(id);
        if (this.#calls.size === 0) {
            asked.delete(this);
            this.#worker?.unref?.(); /* Node may end while nothing is asked */
        }
    }

    call(call, args, { signal, onEvent } = {}) {
        return new Promise((resolve, reject) => {
            if (this.#dead) {
                throw this.#dead;
            }
            signal?.throwIfAborted();
            const id = ++this.#last;
            const abort = () => this.#worker.postMessage({ id, abort: true });
            this.#worker.postMessage({ id, call, args });
            this.#worker.ref?.();
            asked.add(this);
            this.#calls.set(id, { resolve, reject, onEvent, signal, abort });
            signal?.addEventListener("abort", abort);
        });
    }

    close(why = unloaded()) {
        this.#dead ??= why;
        this.#worker?.terminate();
        this.#worker = null;
        this.#help(0);
        for (const [id, call] of this.#calls) {
            this.#end(id, call);
            call.reject(this.#dead);
        }
    }
}

/* Workers of models, and sequences of sessions, that were forgotten. */
export const forgotten = new FinalizationRegistry((end) => end());

/* ---- Generation ------------------------------------------------------------------------------ */

export class Generation {
    ids = [];
    end = null;
    digest = null;
    stats = null;
    #pieces;

    constructor(link, request, options, ended, owner) {
        this.#pieces = this.#run(link, request, options, ended, owner);
    }

    [Symbol.asyncIterator]() {
        return this.#pieces;
    }

    async text() {
        let text = "";
        for await (const piece of this) {
            text += piece;
        }
        return text;
    }

    /* owner: who must not be forgotten meanwhile. */
    async *#run(link, request, { signal, onStats, onProgress, ...options }, ended, owner) {
        const leaving = new AbortController(), texts = [];
        const pass = () => leaving.abort(signal.reason);
        signal?.addEventListener("abort", pass);
        if (signal?.aborted) {
            pass();
        }
        let wake = () => {}, over = false;
        const onEvent = ({ text, ids, stats, progress }) => {
            if (progress) {
                onProgress?.(progress);
                return;
            }
            this.ids.push(...ids);
            this.stats = stats;
            texts.push(text);
            onStats?.(stats);
            wake();
        };
        const answer = link.call("generate", { request, options },
                                 { signal: leaving.signal, onEvent });
        const done = answer.then((value) => {
            this.end = value.end;
            this.digest = value.digest;
            ended?.(value);
        }).finally(() => {
            over = true;
            wake();
        });
        done.catch(() => {});
        try {
            while (!over || texts.length > 0) {
                const text = texts.splice(0).join("");
                if (text !== "") {
                    yield text;
                } else if (!over) {
                    await new Promise((resolve) => { wake = resolve; });
                }
            }
            await done;
        } finally {
            signal?.removeEventListener("abort", pass);
            if (!over) {
                leaving.abort();
                await done.catch(() => owner);
            }
        }
    }
}

export const idsOf = (prompt) => typeof prompt === "string" ? prompt : Int32Array.from(prompt);

/* ---- Models ---------------------------------------------------------------------------------- */

/* What can be sent to a worker of a place or of bytes. Blobs are sent without being copied. */
function sendable(source) {
    if (source instanceof Blob) {
        return { blob: source };
    }
    if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) {
        return { blob: new Blob([source]) };
    }
    if (typeof source !== "string" && !(source instanceof URL)) {
        throw new SlmError("SLM_ERR_ARGUMENT", "a model comes from a URL, a path, a File or bytes");
    }
    const url = String(source);
    return { url: node ? url : new URL(url, globalThis.location?.href).href };
}

/* Of cache.js, which is loaded when it is asked for something. */
const cacheCall = (name) => async (...args) => (await import("./cache.js"))[name](...args);

export class Slm {
    quality = null;
    chat;
    #link;

    static async load(source, { onProgress, signal, ...options } = {}) {
        signal?.throwIfAborted();
        const from = sendable(source), model = new Slm();
        options.manifest &&= sendable(options.manifest);
        options.wasm &&= sendable(options.wasm).url;
        model.#link = await Link.open();
        try {
            const { quality, url, module } = await model.#link.call(
                "load", { from, options, modules: [...modules] },
                { signal, onEvent: (e) => onProgress?.(e.progress) });
            model.quality = quality;
            modules.set(url, module);
        } catch (e) {
            model.#link.close();
            throw e;
        }
        model.#setUp();
        return model;
    }

    #setUp() {
        const link = this.#link;
        forgotten.register(this, () => link.close(), this);
        this.chat = (messages, options = {}) =>
            new Generation(link, { messages }, options, undefined, this);
        this.chat.completions = {
            create: async (request) => (await import("./openai.js")).complete(this, request),
        };
    }

    generate(prompt, options = {}) {
        return new Generation(this.#link, { prompt: idsOf(prompt) }, options, undefined, this);
    }

    tokenize(text, options = {}) {
        return this.#link.call("tokenize", { text, options });
    }

    detokenize(ids, { control = false } = {}) {
        return this.#link.call("detokenize", { ids: Int32Array.from(ids), control });
    }

    logits(ids, { signal } = {}) {
        return this.#link.call("logits", { ids: Int32Array.from(ids) }, { signal });
    }

    digest(ids, { signal } = {}) {
        return this.#link.call("digest", { ids: Int32Array.from(ids) }, { signal });
    }

    async #session(call, args) {
        const { Session } = await import("./session.js");
        return new Session(this.#link, this, await this.#link.call(call, args));
    }

    session() {
        return this.#session("session", {});
    }

    restore(state) {
        return this.#session("restore", { state });
    }

    diagnostics() {
        return this.#link.call("diagnostics", {});
    }

    async unload() {
        forgotten.unregister(this);
        this.#link.close();
    }
}

Slm.cache = Object.fromEntries(
    ["list", "find", "delete", "clear", "estimate"].map((name) => [name, cacheCall(name)]));
