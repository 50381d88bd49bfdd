/* diagnostics.js - what an engine tells of itself, by name. slm-worker.js loads it when asked. */

/* The order of web_number in exports.c, as far as it is of interest. */
const NUMBERS = [
    "parameters", "vocabulary", "trainedContext", "layers", "width", "bosId", "eosId",
    "temperature", "topK", "topP", "minP", "context", "sequences", "hasTokenizer", "hasChat",
    "promptTokens", "generatedTokens", "fileBytes", "modelBytes", "sessionBytes", "kvBlocksTotal",
    "kvBlocksUsed", "copiesOnWrite", "threads",
];
const TEXTS = ["architecture", "kernels", "version"];
const CHECKSUMS = ["contentChecksum", "layoutChecksum", "tokenizerChecksum"];
const PAGE_BYTES = 65536;

const named = (names, value) => Object.fromEntries(names.map((name, i) => [name, value(i)]));

/* How to get more threads. */
function advise({ isolated, threads, cores, refused }) {
    if (refused) {
        return `One of ${cores} processors is used, since the browser grants no memory for ` +
               "several threads to share: close other pages, or take a smaller model or context.";
    }
    return isolated || threads > 1 || cores === 1 ? null
        : `One of ${cores} processors is used, since the page is not cross-origin isolated: ` +
          "serve it with the headers Cross-Origin-Opener-Policy: same-origin and " +
          "Cross-Origin-Embedder-Policy: require-corp, or run slm-isolate.js in it.";
}

export function diagnostics({ engine, hex, rest, ...facts }) {
    const { wasm } = engine, numbers = named(NUMBERS, (i) => wasm.web_number(i));
    return {
        ...numbers, ...named(TEXTS, (i) => engine.cString(wasm.web_text(i))),
        ...named(CHECKSUMS, (i) => hex(wasm.web_checksum(i))),
        hasTokenizer: numbers.hasTokenizer !== 0, hasChat: numbers.hasChat !== 0,
        memoryBytes: engine.memory.buffer.byteLength, memoryMaximumBytes: engine.pages * PAGE_BYTES,
        isolated: facts.isolated, advice: advise(facts), ...rest,
    };
}
