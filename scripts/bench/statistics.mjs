// statistics.mjs - medians, spreads, ratios of measurements taken in turns, and where and when.
import os from "node:os";

const sorted = (values) => [...values].sort((a, b) => a - b);

export function median(values) {
    const s = sorted(values), n = s.length;
    return n % 2 ? s[(n - 1) / 2] : (s[n / 2 - 1] + s[n / 2]) / 2;
}

export function summary(values) {
    return { median: median(values), low: Math.min(...values), high: Math.max(...values), values };
}

// The ratio of the medians; its spread is that of the ratios of each turn.
export function ratios(ours, theirs) {
    const each = ours.map((value, i) => value / theirs[i]);
    return { median: median(ours) / median(theirs), low: Math.min(...each),
             high: Math.max(...each) };
}

export function machine() {
    return { date: new Date().toISOString().slice(0, 10), processor: os.cpus()[0].model,
             cores: os.cpus().length, system: `${os.type()} ${os.arch()}`,
             node: process.version, load: os.loadavg()[0] };
}
