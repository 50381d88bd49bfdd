/* slm.d.ts - the types of slm.js, in which a worker of its own runs each model: everything that
 * takes time gives a Promise or an async iterator, and the page stays responsive.
 *
 *     import { Slm } from "./slm.js";
 *     const model = await Slm.load("model.slm", { onProgress: (p) => show(p.phase, p.done) });
 *     for await (const piece of model.generate("Once upon a time", { maxTokens: 60, seed: 7 })) {
 *         document.body.append(piece);
 *     }
 */

/** What went wrong; `message` is for people. Statuses of slm.h begin with SLM_ERR_. An abort is not
 * an SlmError but what the signal's reason is, by default a DOMException named AbortError. */
export class SlmError extends Error {
    readonly code: SlmErrorCode;
    /** The position in the file that it speaks of; 0 if none. */
    readonly offset: number;
}

export type SlmErrorCode =
    /** The bytes could not be had: no such file, an HTTP status, a connection that stays broken. */
    | "SLM_WEB_FETCH"
    /** This browser cannot compile or start the engine. */
    | "SLM_WEB_WASM"
    /** The worker file could not be started, or a thread of it. */
    | "SLM_WEB_WORKER"
    /** The model has been unloaded, or the session closed. */
    | "SLM_WEB_UNLOADED"
    /** Each of the model's sequences is held by a session: close one or raise `sequences`. */
    | "SLM_WEB_SEQUENCES"
    /** The quality manifest is missing, is for other bytes, or does not hold. */
    | "SLM_WEB_QUALITY"
    /** A session's saved state that is damaged or of another model. */
    | "SLM_WEB_STATE"
    /** Damage: the bytes are not those that were written, also after a second download. */
    | "SLM_ERR_CHECKSUM"
    /** The page grants no more memory: memory.grow was refused. */
    | "SLM_ERR_MEMORY"
    /** More than the 4 GiB that WebAssembly can address. */
    | "SLM_ERR_TOO_LARGE"
    | "SLM_ERR_ARGUMENT"
    | "SLM_ERR_CONTEXT_FULL"
    /** The model has no chat turns. */
    | "SLM_ERR_CHAT"
    | "SLM_ERR_NO_TOKENIZER"
    | (string & {});

/** download: from the network (checked while it arrives); verify: checked while read from the
 * cache, a file or memory, or what remains to be checked after a download; load: the engine is set
 * up; prefill: a prompt is read. The phases of a load: [download] [verify] load. */
export type Phase = "download" | "verify" | "load" | "prefill";

export interface Progress {
    phase: Phase;
    /** Bytes; tokens in phase prefill. */
    done: number;
    /** The same unit; 0 while it is not known. */
    total: number;
    /** Units a second, lately; 0 at first. */
    rate: number;
    /** How many of `done` were had without the network: from the cache, or from an earlier prompt
     * that began alike. */
    cached: number;
}

export type Source = string | URL | Blob | ArrayBuffer | ArrayBufferView;

/** "default": what is cached is used without asking the server; "revalidate": the server is asked
 * first whether it has changed; "reload": downloaded anew; "none": nothing is read or kept. True
 * and false stand for the first and the last. Only what came from a URL is cached. */
export type CacheMode = "default" | "revalidate" | "reload" | "none" | boolean;

export interface LoadOptions {
    onProgress?: (progress: Progress) => void;
    signal?: AbortSignal;
    /** At most so many threads, 1 to 64. Default: one a processor, at most 8. More than one need a
     * cross-origin isolated page (or Node) that is granted memory for them to share; elsewhere
     * there is one, and diagnostics().advice says how to get more. No result depends on it. */
    threads?: number;
    /** Positions of each sequence. Default: the model's own, at most 4096. */
    context?: number;
    /** Sequences whose state is kept, 1 to 16: as many generations run at once (others wait), and a
     * session or a fork holds one until it is closed. Memory is only used by what is written.
     * Default 2. */
    sequences?: number;
    /** Default "default". */
    cache?: CacheMode;
    /** Refuse the model (SLM_WEB_QUALITY) unless its quality manifest is there, unedited, for these
     * bytes, passed, and this machine computes the logits that it promises. Default false. */
    requireQuality?: boolean;
    /** The manifest. Default: the model's URL or path with ".quality.json" after it. */
    manifest?: string | URL | ArrayBuffer | ArrayBufferView;
    /** For the requests of the model and its manifest. */
    headers?: Record<string, string>;
    credentials?: RequestCredentials;
    /** Tokens of one prefill step, 1 to 4096. Default 64. */
    chunk?: number;
    /** Element type of the KV cache. Default "f16". */
    kv?: "f16" | "f32" | "q8_0";
    /** Verify checksums and values of all weights. Default true. */
    check?: boolean;
    /** The engine: URL or path of one of the slm*.wasm. Default: of those beside slm.js, the one
     * that is fastest here. */
    wasm?: string | URL;
}

export interface TokenizeOptions {
    /** Add what the model wants before a text (BOS). Default true; in a session, only at its
     * beginning. */
    special?: boolean;
    /** Recognise control tokens written out in the text. Default false: what a user types stays
     * text. */
    control?: boolean;
}

export interface GenerateOptions extends TokenizeOptions {
    /** Default 256. */
    maxTokens?: number;
    /** 0 to 100; 0 takes the likeliest token. The defaults of these four come with the model. */
    temperature?: number;
    /** 1 to 1024; 0: 1024. */
    topK?: number;
    topP?: number;
    minP?: number;
    /** 0 to 2^64 - 1; the same seed gives the same text on every device. Default 1. */
    seed?: number | bigint;
    /** End before any of these is shown. */
    stop?: string | string[];
    /** Ends the generation within one token, also during prefill: the iteration then throws the
     * signal's reason. Leaving the loop (break, return) ends it too, without an error. */
    signal?: AbortSignal;
    /** Called while it runs, a few times a second, and at the end. */
    onStats?: (stats: Stats) => void;
    /** Prefill, in tokens. */
    onProgress?: (progress: Progress) => void;
    /** Take over what was computed for an earlier prompt that began alike; no result depends on it.
     * Default true. */
    reuse?: boolean;
    /** Compute the digest of all logits: the one that `slm-run --logits-digest` prints. Reads the
     * whole prompt anew. Not in a session. */
    digest?: boolean;
}

export interface Stats {
    /** Of the prompt, and how many of them needed no computing: an earlier one began alike. */
    promptTokens: number;
    cachedTokens: number;
    generatedTokens: number;
    /** From the request on, waiting for others included. */
    firstTokenSeconds: number;
    promptSeconds: number;
    /** Prefill: computed tokens a second. */
    promptRate: number;
    generateSeconds: number;
    /** Tokens a second. */
    generateRate: number;
}

export type EndReason = "end_token" | "stop_string" | "max_tokens" | "context_full";

/** A text in the making: iterate over it for its pieces, or take text(). It starts with the first
 * of these and can be read once. The fields are complete once it has ended. */
export class Generation implements AsyncIterable<string> {
    readonly ids: number[];
    /** Null until it has ended, and if it was ended by its signal or by leaving the loop. */
    readonly end: EndReason | null;
    /** With the option digest: 16 hexadecimal digits. */
    readonly digest: string | null;
    readonly stats: Stats | null;
    [Symbol.asyncIterator](): AsyncIterator<string>;
    /** All of the text. */
    text(): Promise<string>;
}

export interface Message {
    role: "system" | "user" | "assistant";
    content: string;
}

/** The requests of OpenAI's API that have a meaning here; others are refused. */
export interface ChatCompletionRequest {
    messages: { role: "system" | "developer" | "user" | "assistant";
                content: string | { type: "text"; text: string }[] }[];
    /** Ignored: there is one model. */
    model?: string;
    stream?: boolean;
    stream_options?: { include_usage?: boolean };
    max_tokens?: number;
    max_completion_tokens?: number;
    temperature?: number;
    top_p?: number;
    seed?: number;
    stop?: string | string[];
    n?: 1;
    /** Not of OpenAI's. */
    top_k?: number;
    min_p?: number;
    signal?: AbortSignal;
}

export interface ChatCompletion {
    id: string;
    object: "chat.completion";
    created: number;
    model: string;
    choices: [{ index: 0; message: { role: "assistant"; content: string };
                finish_reason: "stop" | "length"; logprobs: null }];
    usage: Usage;
    system_fingerprint: string;
}

export interface ChatCompletionChunk {
    id: string;
    object: "chat.completion.chunk";
    created: number;
    model: string;
    choices: { index: 0; delta: { role?: "assistant"; content?: string };
               finish_reason: "stop" | "length" | null; logprobs: null }[];
    usage?: Usage | null;
    system_fingerprint: string;
}

export interface Usage {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
}

export interface Chat {
    /** The assistant's answer to these messages, in the turns that the model's file carries. What
     * was computed for the same messages before is not computed again. */
    (messages: Message[], options?: GenerateOptions): Generation;
    readonly completions: {
        create(request: ChatCompletionRequest & { stream: true }):
            Promise<AsyncIterable<ChatCompletionChunk>>;
        create(request: ChatCompletionRequest & { stream?: false }): Promise<ChatCompletion>;
        create(request: ChatCompletionRequest):
            Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
    };
}

/** A sequence of tokens with its state. One generation runs in it at a time; another waits. */
export interface Session {
    /** Tokens in it so far. */
    readonly length: number;
    /** Appends a prompt (it may be "" to go on) and what is generated after it. */
    generate(prompt: string | Iterable<number>, options?: GenerateOptions): Generation;
    /** Appends without generating. */
    append(text: string | Iterable<number>, options?: TokenizeOptions & {
        signal?: AbortSignal; onProgress?: (progress: Progress) => void }): Promise<void>;
    /** The logits after its last token. */
    logits(): Promise<Float32Array>;
    /** The ids of its tokens. */
    ids(): Promise<Int32Array>;
    /** Forgets all tokens from position n on. */
    truncate(n: number): Promise<void>;
    /** Another session that begins with the same tokens; memory is shared until they differ. */
    fork(): Promise<Session>;
    /** Its whole state, keys and values included, for model.restore() here or elsewhere. */
    save(): Promise<Uint8Array>;
    /** Frees its sequence; later calls fail with SLM_WEB_UNLOADED. */
    close(): Promise<void>;
}

export interface Diagnostics {
    version: string;
    architecture: string;
    /** Of the engine: "simd128", "relaxed16", "relaxed32". */
    kernels: string;
    parameters: number;
    vocabulary: number;
    trainedContext: number;
    layers: number;
    width: number;
    /** -1: none. */
    bosId: number;
    eosId: number;
    /** What the model's file recommends; -1: nothing. */
    temperature: number;
    topK: number;
    topP: number;
    minP: number;
    /** Positions of a sequence, and sequences. */
    context: number;
    sequences: number;
    hasTokenizer: boolean;
    hasChat: boolean;
    /** Since the load. */
    promptTokens: number;
    generatedTokens: number;
    fileBytes: number;
    modelBytes: number;
    sessionBytes: number;
    /** Of the WebAssembly memory, and what it may grow to. */
    memoryBytes: number;
    memoryMaximumBytes: number;
    kvBlocksTotal: number;
    kvBlocksUsed: number;
    copiesOnWrite: number;
    threads: number;
    /** Whether the page is cross-origin isolated (in Node: true). */
    isolated: boolean;
    /** How to get more speed here; null if there is nothing to say. */
    advice: string | null;
    contentChecksum: string;
    layoutChecksum: string;
    tokenizerChecksum: string;
    loadSeconds: number;
    /** Bytes of the model that came over the network in this load, and that came from the cache. */
    downloadedBytes: number;
    cachedBytes: number;
    /** Where the model is kept for the next visit; null if it is not, and cacheNote says why. */
    cache: "opfs" | "cache-api" | null;
    cacheNote: string | null;
    /** Of the last generation that ended. */
    last: Stats | null;
}

export interface CachedModel {
    url: string;
    /** Kept so far, and of the whole model; they differ after a download that was broken off, which
     * the next load goes on with. */
    bytes: number;
    total: number;
    /** When it was last loaded, in milliseconds since 1970. */
    used: number;
}

/** The models that this site keeps. All of it gives nothing where there is no storage. */
export interface Cache {
    list(): Promise<CachedModel[]>;
    /** The entry of a URL, or null: whether a visitor has to download. */
    find(url: string | URL): Promise<CachedModel | null>;
    delete(url: string | URL): Promise<boolean>;
    clear(): Promise<void>;
    /** Of the whole site, as navigator.storage.estimate() says. */
    estimate(): Promise<{ usage: number; quota: number }>;
}

/** A model in memory. Calls may overlap: generations take turns token by token. */
export class Slm {
    private constructor();
    /** source: a URL, a path (Node), a File or another Blob, or the bytes of a .slm file. */
    static load(source: Source, options?: LoadOptions): Promise<Slm>;
    static readonly cache: Cache;
    /** The quality manifest that requireQuality has found to hold (schemas/quality.schema.json). */
    readonly quality: object | null;
    /** Continues a prompt: a text, or token ids. */
    generate(prompt: string | Iterable<number>, options?: GenerateOptions): Generation;
    readonly chat: Chat;
    tokenize(text: string, options?: TokenizeOptions): Promise<Int32Array>;
    /** control: write control tokens out by name. */
    detokenize(ids: Iterable<number>, options?: { control?: boolean }): Promise<string>;
    /** The logits of the last id, evaluated from an empty context. */
    logits(ids: Iterable<number>, options?: { signal?: AbortSignal }): Promise<Float32Array>;
    /** The digest of the logits of every id: 16 hexadecimal digits, the same on every machine. */
    digest(ids: Iterable<number>, options?: { signal?: AbortSignal }): Promise<string>;
    /** An empty session. */
    session(): Promise<Session>;
    /** A session from what save() gave, of the same model and KV type. */
    restore(state: Uint8Array): Promise<Session>;
    diagnostics(): Promise<Diagnostics>;
    /** Ends whatever runs and lets go of worker and memory; later calls fail with
     * SLM_WEB_UNLOADED. Calling it again does nothing. */
    unload(): Promise<void>;
}
