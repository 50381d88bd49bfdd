/* session.js - the face of a session to a page; sessions.js is the other end. slm.js loads it for
 * the first one.
 */
import { forgotten, Generation, idsOf } from "./slm.js";

/* Apart, since it must not hold the session itself. */
const ending = (link, session) => () => link.call("close", { session }).catch(() => {});

export class Session {
    #link;
    #model;
    #number;
    #length = 0;

    constructor(link, model, value) {
        this.#link = link;
        this.#model = model;
        this.#number = value.session;
        this.#note(value);
        forgotten.register(this, ending(link, this.#number));
    }

    #note(value) {
        this.#length = value.length ?? this.#length;
        return value;
    }

    async #call(call, args, options) {
        return this.#note(await this.#link.call(call, { session: this.#number, ...args }, options));
    }

    get length() {
        return this.#length;
    }

    generate(prompt, options = {}) {
        return new Generation(this.#link, { session: this.#number, prompt: idsOf(prompt) }, options,
                              (value) => this.#note(value), this);
    }

    async append(text, { signal, onProgress, ...options } = {}) {
        await this.#call("append", { text: idsOf(text), options },
                         { signal, onEvent: (e) => onProgress?.(e.progress) });
    }

    logits() {
        return this.#link.call("sessionLogits", { session: this.#number });
    }

    ids() {
        return this.#link.call("sessionIds", { session: this.#number });
    }

    async truncate(n) {
        await this.#call("truncate", { n });
    }

    async fork() {
        const value = await this.#link.call("fork", { session: this.#number });
        return new Session(this.#link, this.#model, value);
    }

    save() {
        return this.#link.call("save", { session: this.#number });
    }

    async close() {
        await this.#link.call("close", { session: this.#number });
    }
}
