/* tap.mjs - the smallest test harness: TAP on stdout. */
let count = 0, failures = 0;

export async function test(name, body) {
    count++;
    try {
        const skip = await body();
        console.log(`ok ${count} - ${name}${skip ? ` # SKIP ${skip}` : ""}`);
    } catch (e) {
        failures++;
        console.log(`# ${(e.stack ?? String(e)).replaceAll("\n", "\n# ")}`);
        console.log(`not ok ${count} - ${name}`);
    }
}

export function finish() {
    console.log(`1..${count}`);
    process.exitCode = failures === 0 ? 0 : 1;
}
