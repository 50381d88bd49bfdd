/* slm-worker.js - the Worker in which a model lives: messages of slm.js -> calls of the engine, and
 * back. Several calls may be under way; they take turns by tokens and by pieces of a prompt.
 *
 *     to here     {id, call, args}; {id, abort: true}; {joined: true}: all helpers are at work
 *     from here   {id, value} or {id, error}; before that, any number of {id, event};
 *                 {helpers: n}: start n threads; {work: {module, memory}}: for them
 */
import { argument, AT, Engine, engineModule, failure, hex, host, isolated, NUMBER,
         threadCount } from "./engine.js";
import { load, Reporter } from "./load.js";

const KV_TYPES = { f16: 0, f32: 1, q8_0: 2 };
const ROLES = ["system", "user", "assistant"]; /* slm_role */
const ENCODE_SPECIAL = 1, ENCODE_CONTROL = 2, DECODE_CONTROL = 1;
const CHAT_ANSWER = 1, CHAT_CONTROL = 2;
const ALL_LAYERS = 0xffffffff;
const BREATH_MS = 8; /* work this long, then look for messages */
const POST_MS = 8; /* gather text this long */
const CACHE_MODES = ["default", "revalidate", "reload", "none"];

const port = host?.port ?? globalThis;

let engine = null;
let sequences = [];
let facts = {}; /* for diagnostics */
let chunkTokens = 64;
let lastStats = null;
let joined = null; /* called when all helpers are at work */

/* ---- Arguments ------------------------------------------------------------------------------- */

function whole(value, name, fallback, most = 0xffffffff) {
    if (value === undefined) {
        return fallback;
    }
    argument(Number.isInteger(value) && value >= 0 && value <= most,
             `${name} is ${value}; a whole number from 0 to ${most} is wanted`);
    return value;
}

function number(value, name, fallback) {
    argument(value === undefined || typeof value === "number",
             `${name} is ${value}; a number is wanted`);
    return value ?? fallback;
}

/* Sampling as the model's file recommends, where the caller says nothing. */
function settings(o) {
    const own = (name) => engine.number(NUMBER[name]);
    const stops = typeof o.stop === "string" ? [o.stop] : o.stop ?? [];
    argument(Array.isArray(stops) && stops.every((s) => typeof s === "string" && s !== ""),
             "stop is a text or a list of texts, none of them empty");
    const seed = o.seed ?? 1;
    argument((typeof seed === "bigint" || Number.isInteger(seed)) &&
             seed >= 0 && seed < 2n ** 64n, `seed is ${seed}; 0 to 2^64 - 1 is wanted`);
    return {
        maxTokens: whole(o.maxTokens, "maxTokens", 256),
        temperature: number(o.temperature, "temperature", Math.max(own("temperature"), 0)),
        topK: whole(o.topK, "topK", Math.min(own("topK"), 1024)),
        topP: number(o.topP, "topP", own("topP") > 0 ? own("topP") : 1),
        minP: number(o.minP, "minP", own("minP")),
        seed: BigInt(seed),
        stops,
        digest: o.digest === true,
        control: o.control === true,
    };
}

function encode(prompt, { special = true, control = false } = {}) {
    if (typeof prompt !== "string") {
        return prompt;
    }
    return engine.encode(prompt, (special ? ENCODE_SPECIAL : 0) | (control ? ENCODE_CONTROL : 0));
}

function encodeChat(messages, { control = false }) {
    argument(Array.isArray(messages) && messages.length > 0, "there are no messages");
    return engine.encodeChat(messages.map(({ role, content }, i) => {
        argument(ROLES.includes(role), `message ${i}: no role is called ${role}`);
        argument(typeof content === "string", `message ${i}: its content is not a text`);
        return [ROLES.indexOf(role), content];
    }), CHAT_ANSWER | (control ? CHAT_CONTROL : 0));
}

/* ---- Turns ----------------------------------------------------------------------------------- */

/* Lets messages in; a plain await would not. */
const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()();
channel.port1.unref?.();
let rested = performance.now();

async function breathe() {
    if (performance.now() - rested > BREATH_MS) {
        await new Promise((resolve) => {
            waiting.push(resolve);
            if (host) {
                setImmediate(() => waiting.shift()());
            } else {
                channel.port2.postMessage(0);
            }
        });
        rested = performance.now();
    }
}

const turns = [];
let taken = false;

/* Runs work while nobody else uses the engine; in the order of asking. */
async function inTurn(job, work) {
    if (taken) {
        await new Promise((resolve) => turns.push(resolve));
    }
    taken = true;
    try {
        job.signal.throwIfAborted();
        return await work();
    } finally {
        if (turns.length > 0) {
            turns.shift()();
        } else {
            taken = false;
        }
    }
}

/* ---- Sequences ------------------------------------------------------------------------------- */

/* ids are in the engine; pending ones are not yet. `busy`: a call is using it; `session`: a session
 * holds it. */
const freeing = [];

function sharedLength(a, b) {
    let n = 0;
    while (n < a.length && n < b.length && a[n] === b[n]) {
        n++;
    }
    return n;
}

/* The free sequence that begins most like ids; the one that would be free soonest if none is. */
async function takeSequence(ids, job) {
    for (;;) {
        job.signal.throwIfAborted();
        const open = sequences.filter((q) => q.session === null);
        const free = open.filter((q) => !q.busy);
        if (free.length > 0) {
            const shared = free.map((q) => sharedLength(q.ids, ids));
            const most = Math.max(...shared);
            /* Among equals, the one whose loss costs least. */
            const best = free.filter((q, i) => shared[i] === most)
                .reduce((a, b) => b.ids.length < a.ids.length ? b : a);
            best.busy = true;
            return best;
        }
        if (open.length === 0) {
            throw failure("SLM_WEB_SEQUENCES", `sessions hold all ${sequences.length} sequences: ` +
                          "close one, or load with more of them");
        }
        await aborted(job, new Promise((resolve) => freeing.push(resolve)));
    }
}

function freed() {
    freeing.splice(0).forEach((resolve) => resolve());
}

function release(q) {
    q.busy = false;
    freed();
}

/* promise, or the signal's reason if that comes first. */
function aborted({ signal }, promise) {
    return Promise.race([promise, new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    })]);
}

function truncate(q, n) {
    engine.wasm.web_truncate(q.index, n);
    q.ids.length = n;
}

/* ---- Evaluation ------------------------------------------------------------------------------ */

/* Some tokens through all layers; looks up between layers. */
async function chunk(q, ids, digest, job) {
    const { wasm } = engine;
    new Int32Array(engine.memory.buffer, engine.at(AT.chunk), ids.length).set(ids);
    wasm.web_time(performance.now() / 1000);
    engine.call(wasm.web_begin(q.index, ids.length, digest ? 1 : 0));
    try {
        while (wasm.web_step(ids.length === 1 ? ALL_LAYERS : 1) !== 0) {
            await breathe();
            job.signal.throwIfAborted();
        }
    } catch (e) {
        wasm.web_truncate(q.index, q.ids.length);
        throw e;
    }
    wasm.web_time(performance.now() / 1000);
    for (const id of ids) {
        q.ids.push(id);
    }
}

/* Appends ids, then runs `then` before anybody else's turn, while the logits are there. */
async function evaluate(q, ids, job, { digest = false, progress = () => {}, then = () => {} }) {
    const context = engine.number(NUMBER.context), room = context - q.ids.length;
    if (ids.length > room) {
        throw failure("SLM_ERR_CONTEXT_FULL", `${ids.length} tokens do not fit the ${room} that ` +
                      `are left of a context of ${context}`);
    }
    let result;
    for (let at = 0; at < ids.length; at += chunkTokens) {
        await inTurn(job, async () => {
            const piece = ids.slice(at, at + chunkTokens);
            await chunk(q, piece, digest, job);
            progress(at + piece.length);
            if (at + piece.length === ids.length) {
                result = await then();
            }
        });
        await breathe();
    }
    return result;
}

/* ---- Generation ------------------------------------------------------------------------------ */

/* One text: draws tokens from q after prompt ids until something ends it. */
class Writer {
    #q;
    #s;
    #job;
    #text = "";
    #new = [];
    #n = 0;
    #posted = 0;
    #start = performance.now();
    #ready = 0;
    #hasText = engine.number(NUMBER.hasTokenizer) !== 0;
    end = null;
    stats;

    constructor(q, s, job) {
        this.#q = q;
        this.#s = s;
        this.#job = job;
    }

    async run(promptTokens, ids) {
        const q = this.#q, s = this.#s, { wasm } = engine;
        const cachedTokens = promptTokens - ids.length;
        const begun = performance.now();
        this.stats = { promptTokens, cachedTokens }; /* complete with the first token */
        engine.call(wasm.web_sampler(q.index, s.temperature, s.topK, s.topP, s.minP, s.seed));
        wasm.web_digest_reset(q.index);
        this.#listen([...q.ids, ...ids]);
        const reporter = new Reporter((e) => this.#job.event({ progress: e }));
        let id = await evaluate(q, ids, this.#job, {
            digest: s.digest,
            progress: (n) => reporter.tell("prefill", cachedTokens + n, promptTokens, cachedTokens),
            then: () => this.#draw(),
        });
        this.#ready = performance.now();
        this.stats.promptSeconds = (this.#ready - begun) / 1000;
        this.stats.promptRate = ids.length / this.stats.promptSeconds;
        this.#take(id);
        this.stats.firstTokenSeconds = (performance.now() - this.#start) / 1000;
        while (this.end === null) {
            this.#post(false);
            id = await evaluate(q, [id], this.#job,
                                { digest: s.digest, then: () => this.#draw() });
            this.#take(id);
        }
        this.#finish();
        return { end: this.end, digest: s.digest ? hex(wasm.web_digest(q.index)) : null,
                 pending: this.end === "end_token" || this.#n === 0 ? [] : [id] };
    }

    /* So that a first word keeps the space before it. */
    #listen(ids) {
        engine.wasm.web_decoder_reset(this.#q.index, this.#s.control ? DECODE_CONTROL : 0);
        if (this.#hasText) {
            ids.forEach((id) => engine.call(engine.wasm.web_decode(this.#q.index, id)));
        }
    }

    #draw() {
        return this.#s.maxTokens === 0 ? -1 : engine.wasm.web_sample(this.#q.index);
    }

    #take(id) {
        if (id < 0) {
            this.end = "max_tokens";
            return;
        }
        this.#n++;
        this.#new.push(id);
        if (engine.wasm.web_is_end(id)) {
            this.end = "end_token";
            return;
        }
        if (this.#hasText) {
            engine.call(engine.wasm.web_decode(this.#q.index, id));
            const text = engine.out();
            this.#text += this.#s.filter?.push(text) ?? text;
        }
        if (this.#s.filter?.found) {
            this.end = "stop_string";
        } else if (this.#n === this.#s.maxTokens) {
            this.end = "max_tokens";
        } else if (this.#q.ids.length === engine.number(NUMBER.context)) {
            this.end = "context_full";
        }
    }

    /* What was held back for a stop string, and an unfinished character. */
    #finish() {
        if (this.end !== "stop_string" && this.#n > 0) {
            engine.wasm.web_decoder_flush(this.#q.index);
            this.#text += (this.#s.filter?.flush() ?? "") + engine.out();
        }
        this.#post(true);
        lastStats = this.stats;
    }

    #post(now) {
        const time = performance.now();
        if (!now && time - this.#posted < POST_MS) {
            return;
        }
        this.#posted = time;
        const seconds = (time - this.#ready) / 1000;
        this.stats.generatedTokens = this.#n;
        this.stats.generateSeconds = seconds;
        this.stats.generateRate = this.#n > 1 ? (this.#n - 1) / seconds : 0;
        this.#job.event({ text: this.#text, ids: this.#new, stats: this.stats });
        this.#text = "";
        this.#new = [];
    }
}

/* request: {prompt} or {messages}, and the session it is for. */
async function generate(request, options, job) {
    const s = settings(options);
    s.filter = s.stops.length > 0 ? new (await import("./stop.js")).StopFilter(s.stops) : null;
    if (request.session !== undefined) {
        return (await sessionCalls()).generate(request, options, s, job);
    }
    const ids = request.messages ? encodeChat(request.messages, options)
                                 : encode(request.prompt, options);
    argument(ids.length !== 0, "the prompt is empty");
    const q = await takeSequence(s.digest ? [] : ids, job);
    try {
        const kept = s.digest || options.reuse === false
            ? 0 : Math.min(sharedLength(q.ids, ids), ids.length - 1);
        await inTurn(job, () => truncate(q, kept));
        return await new Writer(q, s, job).run(ids.length, Array.from(ids.slice(kept)));
    } finally {
        release(q);
    }
}

/* ---- Calls ----------------------------------------------------------------------------------- */

async function loadModel({ from, options: o, modules }, job) {
    const begun = performance.now();
    argument((o.kv ?? "f16") in KV_TYPES, `kv is ${o.kv}; it can be f16, f32 or q8_0`);
    const cache = o.cache === true ? "default" : o.cache === false ? "none" : o.cache ?? "default";
    argument(CACHE_MODES.includes(cache), `cache is ${o.cache}; ${CACHE_MODES} are possible`);
    argument(o.sequences === undefined || whole(o.sequences, "sequences", 1, 16) > 0,
             "sequences is 0; 1 to 16 are possible");
    const known = new Map(modules), { threads, cores } = threadCount(o.threads);
    const reporter = new Reporter((e) => job.event({ progress: e }));
    const start = async (threads) => {
        const { url, module } = await engineModule(o.wasm, threads, known);
        const shared = WebAssembly.Module.imports(module).length !== 0;
        const wanted = { ...o, cache, threads: shared ? threads : 1, kv: KV_TYPES[o.kv ?? "f16"],
                         context: whole(o.context, "context", 0), chunk: whole(o.chunk, "chunk", 0),
                         check: o.check !== false };
        const helpers = wanted.threads - 1;
        port.postMessage({ helpers }); /* they start while the model comes */
        const make = (pages) => Engine.make(module, pages);
        const loaded = await load(from, make, shared, wanted, reporter, job.signal);
        return { ...loaded, url, module, wanted, helpers };
    };
    let refused = false; /* a memory that threads share, which some browsers grant less of */
    const started = await start(threads).catch((e) => {
        refused = threads > 1 && o.wasm === undefined && e.code === "SLM_ERR_MEMORY";
        if (!refused) {
            throw e;
        }
        return start(1);
    });
    ({ engine } = started);
    const { size, source, url, module, wanted, helpers } = started;
    reporter.tell("load", 0, size);
    if (helpers > 0) {
        await new Promise((resolve) => {
            joined = resolve;
            port.postMessage({ work: { module, memory: engine.memory } });
        });
    }
    sequences = Array.from({ length: engine.number(NUMBER.sequences) },
                           (_, index) => ({ index, ids: [], pending: [], session: null,
                                            busy: false }));
    chunkTokens = wanted.chunk || chunkTokens;
    const rest = { cachedBytes: source.cached,
                   downloadedBytes: source.redo ? size - source.cached : 0,
                   cache: source.kept ?? null,
                   cacheNote: source.kept ? null : source.note ?? null };
    facts = { threads, cores, refused, rest };
    const quality = o.requireQuality ? await (await import("./quality.js")).requireQuality({
        beside: from.url, place: o.manifest, kv: o.kv ?? "f16", failure,
        header: engine.bytes(started.file, 128).slice(),
        options: o, signal: job.signal, host,
        digest: async (ids) => (await sessionCalls()).digest({ ids }, job),
    }) : null;
    reporter.tell("load", size, size);
    rest.loadSeconds = (performance.now() - begun) / 1000;
    return { quality, url, module };
}

const calls = {
    load: loadModel,

    tokenize({ text, options }) {
        argument(typeof text === "string", "the text to tokenize is not a string");
        return encode(text, options);
    },

    generate: ({ request, options }, job) => generate(request, options, job),

    async diagnostics() {
        return (await import("./diagnostics.js")).diagnostics(
            { engine, hex, isolated, ...facts, rest: { ...facts.rest, last: lastStats } });
    },

};

let sessions = null;

/* Calls that a first answer does not need: sessions.js. */
function sessionCalls() {
    sessions ??= import("./sessions.js").then((module) => module.sessionCalls({
        aborted, argument, AT, encode, engine, evaluate, failure, freed, hex, inTurn, release,
        Reporter, sequences, takeSequence, truncate, Writer,
        freeing: () => new Promise((resolve) => freeing.push(resolve)),
    }));
    return sessions;
}

/* ---- Messages -------------------------------------------------------------------------------- */

const jobs = new Map();

function errorOf(e, job) {
    if (job.signal.aborted) {
        return { aborted: true };
    }
    const { code, message, offset = 0 } = e;
    return typeof code === "string" && code.startsWith("SLM_")
        ? { code, message, offset }
        : { code: "SLM_WEB_WASM", message: `the engine failed: ${e.stack ?? e}`, offset };
}

async function serve({ id, call, args, abort, joined: all }) {
    if (all) {
        joined();
        return;
    }
    if (abort) {
        jobs.get(id)?.abort();
        return;
    }
    const controller = new AbortController();
    const job = { signal: controller.signal, event: (event) => port.postMessage({ id, event }) };
    jobs.set(id, controller);
    try {
        const value = await (calls[call] ?? (await sessionCalls())[call])(args, job);
        port.postMessage({ id, value }, value instanceof Uint8Array ? [value.buffer] : []);
    } catch (e) {
        port.postMessage({ id, error: errorOf(e, job) });
    } finally {
        jobs.delete(id);
    }
}

if (host) {
    port.on("message", serve);
} else {
    port.onmessage = ({ data }) => serve(data);
}
