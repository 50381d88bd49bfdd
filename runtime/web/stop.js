/* stop.js - text in pieces -> the same up to the first of some stop strings. Loaded where there are
 * any.
 */

/** Passes on what no stop string can claim any more. */
export class StopFilter {
    #stops;
    #held = "";
    found = false;

    constructor(stops) {
        this.#stops = stops;
    }

    push(text) {
        const pending = this.#held + text;
        const hits = this.#stops.map((s) => pending.indexOf(s)).filter((at) => at >= 0);
        if (hits.length !== 0) {
            this.found = true;
            this.#held = "";
            return pending.slice(0, Math.min(...hits));
        }
        let held = 0;
        for (const stop of this.#stops) {
            let n = Math.min(stop.length - 1, pending.length);
            while (n > held && !pending.endsWith(stop.slice(0, n))) {
                n--;
            }
            held = Math.max(held, n);
        }
        this.#held = held ? pending.slice(-held) : "";
        return held ? pending.slice(0, -held) : pending;
    }

    flush() {
        return this.#held;
    }
}
