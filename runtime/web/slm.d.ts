/* slm.d.ts - the types of slm.js. */

/** What went wrong. */
export class SlmError extends Error {
    /** The name of a status of slm.h, such as "SLM_ERR_CHECKSUM", or "SLM_WEB_FETCH",
     * "SLM_WEB_WASM", "SLM_WEB_THREADS", "SLM_WEB_BUSY", "SLM_WEB_UNLOADED", "SLM_WEB_QUALITY". */
    readonly code: string;
    /** The position in the file that it speaks of; 0 if none. */
    readonly offset: number;
}

export interface LoadOptions {
    /** Positions of the KV cache. Default: the model's own, at most 4096. */
    context?: number;
    /** Tokens of one prefill step, 1 to 4096. Default 64. */
    chunk?: number;
    /** Element type of the KV cache. Default "f16". */
    kv?: "f16" | "f32" | "q8_0";
    /** Verify checksums and values of all weights. Default true. */
    check?: boolean;
    /** Refuse the model (SLM_WEB_QUALITY) unless its quality manifest is there, unedited, for these
     * bytes, passed, and this machine computes the logits that it promises. Needs HTTPS in a
     * browser. Default false. */
    requireQuality?: boolean;
    /** The manifest. Default: the model's URL or path with ".quality.json" after it. */
    manifest?: string | URL | ArrayBuffer | ArrayBufferView;
    /** Threads, 1 to 256; more than one in Node or in a Worker of a cross-origin isolated page. No
     * result depends on it. Default: one for each processor, up to 8, where that is possible. */
    threads?: number;
    /** The engine. Default: of the slm*.wasm beside slm.js, the one that is fastest here. */
    wasm?: string | URL | ArrayBuffer | ArrayBufferView | WebAssembly.Module;
    /** Called as the file arrives. */
    progress?: (bytesDone: number, bytesTotal: number) => void;
    signal?: AbortSignal;
}

export interface TokenizeOptions {
    /** Add what the model wants before a text (BOS). Default true. */
    special?: boolean;
    /** Recognise control tokens written out in the text. Default false. */
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
    /** 0 to 2^64 - 1; the same seed gives the same text everywhere. Default 1. */
    seed?: number | bigint;
    /** End before any of these is shown. */
    stop?: string | string[];
    /** Compute the digest of all logits: the one that `slm-run --logits-digest` prints. */
    digest?: boolean;
    signal?: AbortSignal;
}

/** A text in the making. The fields are complete once the iteration is. */
export class Generation implements AsyncIterable<string> {
    readonly ids: number[];
    readonly end: "end_token" | "stop_string" | "max_tokens" | "context_full" | null;
    readonly digest: string | null;
    [Symbol.asyncIterator](): AsyncIterator<string>;
    text(): Promise<string>;
}

export interface Diagnostics {
    version: string;
    architecture: string;
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
    context: number;
    length: number;
    promptTokens: number;
    generatedTokens: number;
    fileBytes: number;
    modelBytes: number;
    sessionBytes: number;
    memoryBytes: number;
    kvBlocksTotal: number;
    kvBlocksUsed: number;
    hasTokenizer: boolean;
    threads: number;
    contentChecksum: string;
    layoutChecksum: string;
    tokenizerChecksum: string;
    loadSeconds: number;
    /** Of the last generation. */
    promptSeconds: number;
    firstTokenSeconds: number;
    generateSeconds: number;
}

/** A model in memory. One generation runs at a time. */
export class Slm {
    private constructor();
    /** source: a URL, a path (Node), or the bytes of a .slm file. */
    static load(source: string | URL | ArrayBuffer | ArrayBufferView,
                options?: LoadOptions): Promise<Slm>;
    tokenize(text: string, options?: TokenizeOptions): Int32Array;
    detokenize(ids: Iterable<number>, options?: { control?: boolean }): string;
    /** The logits of the last id, evaluated from an empty context. */
    logits(ids: ArrayLike<number>): Promise<Float32Array>;
    /** The digest of the logits of every id: 16 hexadecimal digits, the same on every machine. */
    digest(ids: ArrayLike<number>): Promise<string>;
    generate(prompt: string | Iterable<number>, options?: GenerateOptions): Generation;
    diagnostics(): Diagnostics;
    /** Lets go of the memory; later calls fail with SLM_WEB_UNLOADED. */
    unload(): void;
    /** The quality manifest that requireQuality has found to hold (schemas/quality.schema.json). */
    readonly quality: object | null;
}
