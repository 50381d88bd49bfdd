/* sessions.js - calls that a first answer does not need: sessions of a model, which are sequences
 * that are held from call to call, fork, and can be put away as bytes; logits and their digests;
 * ids to text. slm-worker.js loads it for the first of them.
 */
const SPARE_STREAM = 16; /* of exports.c: for what is decoded in between */
const DECODE_CONTROL = 1;

/** More calls of slm-worker.js. w: what that lends, by name. */
export function sessionCalls(w) {
    const { aborted, argument, AT, encode, engine, evaluate, failure, hex, inTurn, release,
            Reporter, sequences, truncate } = w;
    let made = 0;

    /* Holds a session's sequence while work uses it. */
    async function inSession(session, job, work) {
        const find = () => sequences.find((s) => s.session === session);
        while (find()?.busy) {
            await aborted(job, w.freeing());
        }
        const q = find();
        if (!q) {
            throw failure("SLM_WEB_UNLOADED", "the session has been closed");
        }
        q.busy = true;
        try {
            return await work(q);
        } finally {
            release(q);
        }
    }

    async function newSession(job) {
        const q = await w.takeSequence([], job);
        try {
            await inTurn(job, () => truncate(q, 0));
            q.session = ++made;
            q.pending = [];
        } finally {
            release(q);
        }
        return q;
    }

    const length = (q) => q.ids.length + q.pending.length;
    const valueOf = (q) => ({ session: q.session, length: length(q) });

    /* Its tokens stay, for a prompt that begins alike. */
    function end(q) {
        q.session = null;
        q.pending = [];
        w.freed();
    }

    /* The ids that must go through the model so that the logits after them all are there. */
    function unevaluated(q, more) {
        let ids = [...q.pending, ...more];
        if (ids.length === 0) {
            argument(q.ids.length > 0, "the session is empty");
            ids = q.ids.slice(-1);
            truncate(q, q.ids.length - 1);
        }
        q.pending = [];
        return ids;
    }

    /* Evaluates them; what is broken off stays pending. */
    async function settle(q, more, job, work) {
        const ids = await inTurn(job, () => unevaluated(q, more));
        const start = q.ids.length;
        try {
            return await work(ids);
        } finally {
            q.pending.push(...ids.slice(q.ids.length - start));
        }
    }

    /* Special tokens stand at the beginning of a session alone. */
    const idsOf = (q, text, options) =>
        Array.from(encode(text, { ...options, special: options.special ?? length(q) === 0 }));

    /* What `result` gives after ids alone. */
    async function evaluated(ids, job, digest, result) {
        argument(ids.length > 0, "there are no ids");
        const q = await w.takeSequence([], job);
        try {
            await inTurn(job, () => truncate(q, 0));
            engine.wasm.web_digest_reset(q.index);
            return await evaluate(q, Array.from(ids), job, { digest, then: () => result(q) });
        } finally {
            release(q);
        }
    }

    return {
        logits: ({ ids }, job) => evaluated(ids, job, false, () => engine.logits()),

        digest: ({ ids }, job) => evaluated(ids, job, true,
                                            (q) => hex(engine.wasm.web_digest(q.index))),

        detokenize({ ids, control }) {
            const { wasm } = engine;
            wasm.web_decoder_reset(SPARE_STREAM, control ? DECODE_CONTROL : 0);
            let text = "";
            for (const id of ids) {
                engine.call(wasm.web_decode(SPARE_STREAM, id));
                text += engine.out();
            }
            wasm.web_decoder_flush(SPARE_STREAM);
            return text + engine.out();
        },

        session: async (_, job) => valueOf(await newSession(job)),

        generate: ({ session, prompt }, options, s, job) => inSession(session, job, (q) => {
            argument(!s.digest, "a session has no digest");
            return settle(q, idsOf(q, prompt, options), job, async (ids) => {
                const total = q.ids.length + ids.length;
                const { end: why, pending } = await new w.Writer(q, s, job).run(total, ids);
                q.pending = pending;
                return { end: why, digest: null, ...valueOf(q) };
            });
        }),

        append: ({ session, text, options }, job) => inSession(session, job, async (q) => {
            const more = idsOf(q, text, options), total = q.pending.length + more.length;
            const reporter = new Reporter((e) => job.event({ progress: e }));
            const progress = (n) => reporter.tell("prefill", n, total);
            if (total > 0) {
                await settle(q, more, job, (ids) => evaluate(q, ids, job, { progress }));
            }
            return valueOf(q);
        }),

        sessionLogits: ({ session }, job) => inSession(session, job, (q) => settle(
            q, [], job, (ids) => evaluate(q, ids, job, { then: () => engine.logits() }))),

        sessionIds: ({ session }, job) => inSession(
            session, job, (q) => Int32Array.from([...q.ids, ...q.pending])),

        truncate: ({ session, n }, job) => inSession(session, job, (q) => inTurn(job, () => {
            argument(Number.isInteger(n) && n >= 0, `a length of ${n} tokens`);
            q.pending.length = Math.min(q.pending.length, Math.max(n - q.ids.length, 0));
            if (n < q.ids.length) {
                truncate(q, n);
            }
            return valueOf(q);
        })),

        fork: ({ session }, job) => inSession(session, job, async (q) => {
            const other = await newSession(job);
            return inTurn(job, () => {
                engine.wasm.web_fork(q.index, other.index);
                other.ids = q.ids.slice();
                other.pending = q.pending.slice();
                return valueOf(other);
            });
        }),

        save: ({ session }, job) => inSession(session, job, async (q) => {
            if (q.pending.length > 0) {
                await settle(q, [], job, (ids) => evaluate(q, ids, job, {}));
            }
            return inTurn(job, () => {
                const at = engine.input(4 * q.ids.length);
                new Int32Array(engine.memory.buffer, at, q.ids.length).set(q.ids);
                engine.call(engine.wasm.web_save(q.index, at));
                return engine.bytes(engine.at(AT.ids), engine.at(AT.nIds)).slice();
            });
        }),

        async restore({ state }, job) {
            argument(state instanceof Uint8Array, "a saved state is a Uint8Array");
            const q = await newSession(job);
            try {
                return await inTurn(job, () => {
                    const at = engine.input(state.length);
                    engine.bytes(at, state.length).set(state);
                    engine.call(engine.wasm.web_restore(q.index, at, state.length));
                    const ids = Array.from(engine.ids()), n = engine.wasm.web_length(q.index);
                    q.ids = ids.slice(0, n);
                    q.pending = ids.slice(n);
                    return valueOf(q);
                });
            } catch (e) {
                end(q);
                throw e.code?.startsWith("SLM_ERR") && e.code !== "SLM_ERR_MEMORY"
                    ? failure("SLM_WEB_STATE", `not a sound state of this model: ${e.message}`)
                    : e;
            }
        },

        close({ session }) {
            const q = sequences.find((s) => s.session === session);
            if (q) {
                end(q);
            }
        },
    };
}
