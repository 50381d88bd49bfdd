/* openai.js - chat completions in the shape of OpenAI's API: a request -> model.chat -> a
 * completion, or chunks of one. slm.js loads it when chat.completions.create is called.
 */
import { SlmError } from "./slm.js";

const KNOWN = ["messages", "model", "stream", "stream_options", "max_tokens",
               "max_completion_tokens", "temperature", "top_p", "seed", "stop", "n", "top_k",
               "min_p", "signal"];

let made = 0;

function message({ role, content }) {
    const parts = Array.isArray(content) ? content : [{ type: "text", text: content }];
    const other = parts.find(({ type }) => type !== "text");
    if (other) {
        throw new SlmError("SLM_ERR_ARGUMENT", `content of type ${other.type} is not possible`);
    }
    return { role: role === "developer" ? "system" : role,
             content: parts.map(({ text }) => text).join("") };
}

/* null, as some clients write it, stands for what is left out. */
function optionsOf(request) {
    const given = Object.keys(request).filter((key) => request[key] != null);
    const unknown = given.find((key) => !KNOWN.includes(key) || (key === "n" && request.n !== 1));
    if (unknown) {
        throw new SlmError("SLM_ERR_ARGUMENT", `${unknown} has no meaning here: leave it out`);
    }
    const r = request, options = {
        maxTokens: r.max_completion_tokens ?? r.max_tokens, temperature: r.temperature,
        topP: r.top_p, topK: r.top_k, minP: r.min_p, seed: r.seed, stop: r.stop, signal: r.signal,
    };
    return Object.fromEntries(Object.entries(options).filter(([, value]) => value != null));
}

const finish = { end_token: "stop", stop_string: "stop", max_tokens: "length",
                 context_full: "length" };

const usageOf = ({ promptTokens, cachedTokens, generatedTokens }) => ({
    prompt_tokens: promptTokens,
    completion_tokens: generatedTokens,
    total_tokens: promptTokens + generatedTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
});

async function* chunks(generation, common, withUsage) {
    const chunk = (delta, reason = null) => ({
        ...common, object: "chat.completion.chunk",
        choices: [{ index: 0, delta, finish_reason: reason, logprobs: null }],
        ...(withUsage ? { usage: null } : {}),
    });
    yield chunk({ role: "assistant", content: "" });
    for await (const content of generation) {
        yield chunk({ content });
    }
    yield chunk({}, finish[generation.end]);
    if (withUsage) {
        yield { ...chunk({}), choices: [], usage: usageOf(generation.stats) };
    }
}

/** What model.chat.completions.create gives. */
export async function complete(model, request) {
    const options = optionsOf(request);
    const { architecture, contentChecksum } = await model.diagnostics();
    const generation = model.chat(request.messages.map(message), options);
    const common = {
        id: `chatcmpl-${Date.now().toString(36)}-${++made}`,
        created: Math.floor(Date.now() / 1000),
        model: request.model ?? architecture,
        system_fingerprint: `slm-${contentChecksum}`,
    };
    if (request.stream) {
        return chunks(generation, common, request.stream_options?.include_usage === true);
    }
    const content = await generation.text();
    return {
        ...common, object: "chat.completion",
        choices: [{ index: 0, message: { role: "assistant", content },
                    finish_reason: finish[generation.end], logprobs: null }],
        usage: usageOf(generation.stats),
    };
}
