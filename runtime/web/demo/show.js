/* show.js - elements and numbers of the demo page, as people read them. */

export const $ = (id) => document.getElementById(id);

/** An element with text, classes and children; text is never read as HTML. */
export function make(tag, { text, name, id, ...attributes } = {}, ...children) {
    const element = document.createElement(tag);
    if (text !== undefined) {
        element.textContent = text;
    }
    if (name) {
        element.className = name;
    }
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...children);
    return element;
}

export function show(id, visible) {
    $(id).hidden = !visible;
}

/** For screen readers: what has just happened. */
export function say(text) {
    $("status").textContent = text;
}

export function complain(error) {
    if (error?.name === "AbortError") {
        say("Cancelled.");
        return;
    }
    $("error").textContent = error ? `${error.message}${error.code ? ` (${error.code})` : ""}` : "";
}

const grouped = new Intl.NumberFormat("en");

/** 1652096 -> "1.65 MB" */
export function size(bytes) {
    for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
        if (bytes >= unit) {
            const digits = bytes >= 100 * unit ? 0 : bytes >= 10 * unit ? 1 : 2;
            return `${(bytes / unit).toFixed(digits)} ${name}`;
        }
    }
    return `${bytes} bytes`;
}

/** 1652096 -> "1.65 MB (1,652,096 bytes)" */
export const exactSize = (bytes) =>
    bytes < 1000 ? size(bytes) : `${size(bytes)} (${grouped.format(bytes)} bytes)`;

export const whole = (n) => grouped.format(n);

export function seconds(s) {
    if (s < 1) {
        return `${Math.round(s * 1000)} ms`;
    }
    return s < 90 ? `${s.toFixed(s < 10 ? 1 : 0)} s` : `${Math.round(s / 60)} min`;
}

export const rate = (perSecond) =>
    perSecond > 0 ? `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} tokens/s` : "\u2013";
