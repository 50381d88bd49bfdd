/* talk.js - the right side of the demo page: a text continued or a chat, shown as it is written,
 * with its speed; stopped at any time; and the digest that shows it to be the same elsewhere. */
import { $, complain, make, rate, say, seconds, show, whole } from "./show.js";

const FIELDS = ["temperature", "topK", "topP", "minP", "maxTokens"];
const FLAGS = { temperature: "--temp", topK: "--top-k", topP: "--top-p", minP: "--min-p" };
const ENDS = { end_token: "it ended by itself", stop_string: "stopped by a stop string",
               max_tokens: "as many tokens as allowed", context_full: "the context is full" };

let model = null, facts = null, modelName = "";
let messages = []; /* of the chat so far */
let last = null; /* the request that "Same seed again" repeats */
let running = null; /* AbortController */
const earlier = new Map(); /* digests by request */

const chatting = () => $("mode-chat").checked;

/* ---- Settings -------------------------------------------------------------------------------- */

function readOptions() {
    const options = { digest: $("digest").checked };
    for (const name of FIELDS) {
        const { value, validity } = $(name);
        if (!validity.valid) {
            $(name).focus();
            throw new Error(`${name}: ${$(name).validationMessage}`);
        }
        if (value !== "") {
            options[name] = Number(value);
        }
    }
    const seed = $("seed").value.trim();
    if (!/^[0-9]{1,20}$/.test(seed) || BigInt(seed) >= 1n << 64n) {
        $("seed").focus();
        throw new Error("The seed is a whole number from 0 to 2^64 - 1.");
    }
    return { ...options, seed: BigInt(seed) };
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/* What gives the same text and digest in a terminal; null if a terminal cannot. */
function commandOf({ prompt, history, options }) {
    const asked = prompt ?? history.at(-1).content, chat = [];
    if (history) {
        const system = history[0].role === "system" ? history[0].content : null;
        if (history.length > (system === null ? 1 : 2)) {
            return null;
        }
        chat.push("--chat", ...(system === null ? [] : ["--system", quoted(system)]));
    }
    const set = FIELDS.filter((name) => FLAGS[name] && options[name] !== undefined)
        .map((name) => `${FLAGS[name]} ${options[name]}`);
    return ["slm-run", quoted(modelName), ...chat, "-p", quoted(asked), ...set, "--seed",
            options.seed, "-n", options.maxTokens ?? 256, "--logits-digest"].join(" ");
}

/* ---- What is shown --------------------------------------------------------------------------- */

function addArticle(heading, name, text = "") {
    show("empty", false);
    const body = make("div", { text });
    const article = make("article", { name }, make("h3", { text: heading }), body);
    $("log").append(article);
    return { article, body };
}

function followEnd(work) {
    const log = $("log");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    work();
    if (atEnd) {
        log.scrollTop = log.scrollHeight;
    }
}

function showStats(s) {
    if (s.generatedTokens > 0) {
        $("ttft").textContent = seconds(s.firstTokenSeconds);
    }
    $("rate").textContent = rate(s.generateRate);
    $("prefill-rate").textContent = s.cachedTokens > 0
        ? `${rate(s.promptRate)}, ${whole(s.cachedTokens)} known` : rate(s.promptRate);
    $("tokens").textContent = `${whole(s.promptTokens)} + ${whole(s.generatedTokens)}`;
}

/* The time until the first token, while it is waited for. */
function startClock() {
    const started = performance.now();
    const tick = () => { $("ttft").textContent = seconds((performance.now() - started) / 1000); };
    for (const id of ["rate", "prefill-rate", "tokens"]) {
        $(id).textContent = "\u2013";
    }
    const timer = setInterval(tick, 100);
    return () => clearInterval(timer);
}

function showPrefill({ done, total }) {
    $("prefill").value = total > 0 ? done / total : 0;
    show("prefill", done < total);
}

function setBusy(busy) {
    $("log").setAttribute("aria-busy", busy);
    $("stop").disabled = !busy;
    $("go").disabled = busy || model === null;
    $("again").disabled = busy || model === null || last === null;
    for (const id of ["mode-complete", "wipe", "unload", "load"]) {
        $(id).disabled = busy;
    }
    $("mode-chat").disabled = busy || !facts?.hasChat;
}

function showProof(request, text, digest) {
    show("proof", digest !== null);
    if (digest === null) {
        return;
    }
    const { prompt, history, options } = request;
    const key = JSON.stringify([facts.contentChecksum, prompt, history, options],
                               (_, x) => typeof x === "bigint" ? String(x) : x);
    const before = earlier.get(key);
    earlier.set(key, { text, digest });
    $("digest-value").textContent = digest;
    $("digest-same").textContent = !before ? ""
        : before.text === text && before.digest === digest ? "\u2013 equal to the run before"
                                                           : "\u2013 NOT the run before";
    const command = commandOf(request);
    $("command").textContent = command ?? "the same messages and settings, in a page like this";
}

/* ---- Running --------------------------------------------------------------------------------- */

/* Writes one text into `body`. Gives the text; throws the error, with .text so far. */
async function write(request, body, signal) {
    const endClock = startClock();
    const { options, prompt, history } = request;
    const hooks = { ...options, signal, onProgress: showPrefill, onStats: (s) => {
        if (s.generatedTokens > 0) {
            endClock();
        }
        showStats(s);
    } };
    const generation = prompt !== undefined ? model.generate(prompt, hooks)
                                            : model.chat(history, hooks);
    let text = "";
    try {
        for await (const piece of generation) {
            text += piece;
            followEnd(() => body.append(piece));
        }
        return { text, generation };
    } catch (e) {
        if (e.name !== "AbortError") {
            complain(e);
        }
        return { text, generation, failed: e };
    } finally {
        endClock();
        show("prefill", false);
    }
}

function summaryOf({ generation, failed }) {
    const { stats, end } = generation;
    const why = failed ? failed.name === "AbortError" ? "stopped" : "failed" : ENDS[end];
    return stats ? `${whole(stats.generatedTokens)} tokens, ${rate(stats.generateRate)}, first ` +
                   `after ${seconds(stats.firstTokenSeconds)}; ${why}` : why;
}

async function run(request) {
    const { article, body } = addArticle(request.prompt !== undefined ? "Text" : "Answer", "model");
    if (request.prompt !== undefined) {
        body.append(make("span", { text: request.prompt, name: "given" }));
    }
    last = request;
    running = new AbortController();
    complain(null);
    show("proof", false);
    setBusy(true);
    $("log").scrollTop = $("log").scrollHeight;
    say("Writing");
    const result = await write(request, body, running.signal);
    running = null;
    const summary = summaryOf(result);
    followEnd(() => article.append(make("footer", { text: summary })));
    setBusy(false);
    if (!result.failed) {
        showProof(request, result.text, result.generation.digest);
    }
    say(`Done: ${summary}`);
    return result;
}

async function ask() {
    const text = $("prompt").value;
    if (running || model === null || (chatting() && text.trim() === "")) {
        return;
    }
    let options;
    try {
        options = readOptions();
    } catch (e) {
        complain(e);
        return;
    }
    if (!chatting()) {
        await run({ prompt: text, options });
        return;
    }
    const system = $("system").value.trim();
    const question = { role: "user", content: text };
    const history = [...(system ? [{ role: "system", content: system }] : []), ...messages,
                     question];
    addArticle("You", "user", text);
    $("prompt").value = "";
    const result = await run({ history, options });
    if (result.text !== "") {
        messages.push(question, { role: "assistant", content: result.text });
    } else {
        $("prompt").value ||= text; /* nothing came of it: to be asked again */
    }
}

function startOver() {
    messages = [];
    last = null;
    for (const article of $("log").querySelectorAll("article")) {
        article.remove();
    }
    show("empty", true);
    show("proof", false);
    setBusy(false);
    $("prompt").focus();
}

function showMode() {
    const chat = chatting();
    show("system-label", chat);
    $("prompt-label").textContent = chat ? "Your message" : "Beginning of the text";
    $("go").textContent = chat ? "Send" : "Write";
    if (!chat && $("prompt").value === "") {
        $("prompt").value = "once upon a time there was a little fox who";
    } else if (chat) {
        $("prompt").value = "";
    }
}

/** Another model is there, or none (null). */
export function setModel(next, diagnostics, name) {
    running?.abort();
    [model, facts, modelName] = [next, diagnostics, name];
    messages = [];
    last = null;
    const chat = next !== null && diagnostics.hasChat;
    $("chat-note").textContent = next !== null && !chat ? "(this model has no chat turns)" : "";
    $(chat ? "mode-chat" : "mode-complete").checked = true;
    const recommended = { temperature: "temperature", topK: "topK", topP: "topP", minP: "minP" };
    for (const [id, key] of Object.entries(recommended)) {
        $(id).placeholder = next !== null && diagnostics[key] >= 0
            ? String(Number(diagnostics[key].toPrecision(4))) : "";
    }
    $("empty").textContent = next === null ? "Load a model first; then write below."
                                           : `${name} is ready.`;
    showMode();
    setBusy(false);
    if (next !== null) {
        $("prompt").focus();
    }
}

export function setUpTalk() {
    $("ask").addEventListener("submit", (event) => {
        event.preventDefault();
        ask();
    });
    $("prompt").addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            ask();
        }
    });
    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
            running?.abort();
        }
    });
    $("stop").addEventListener("click", () => running?.abort());
    $("again").addEventListener("click", () => last && !running && run(last));
    $("wipe").addEventListener("click", startOver);
    $("mode-chat").addEventListener("change", showMode);
    $("mode-complete").addEventListener("change", showMode);
    showMode();
}
