/** When to do what many changes ask for, and what none does. */

const cockpit = globalThis.cockpit; // absent in tests without a browser

/** Return a function that has `work` done once before the page is next painted. */
export function beforePaint(work) {
    let asked = false;
    return () => {
        if (asked)
            return;
        asked = true;
        requestAnimationFrame(() => {
            asked = false;
            work();
        });
    };
}

/**
 * Return a function that has `work` done `quiet` milliseconds after it was last called, but no
 * later than `longest` after the first call, and never while the work before is in progress.
 */
export function whenQuiet(work, quiet, longest = 10 * quiet) {
    let timer = null;
    let first = null;
    let busy = false;

    async function run() {
        timer = null;
        if (busy) {
            timer = setTimeout(run, quiet);
            return;
        }
        first = null;
        busy = true;
        try {
            await work();
        } finally {
            busy = false;
        }
    }

    return () => {
        const now = performance.now();
        first ??= now;
        if (timer !== null)
            clearTimeout(timer);
        timer = setTimeout(run, Math.max(0, Math.min(quiet, first + longest - now)));
    };
}

/** Have `work` done every `milliseconds` while the page can be seen, and whenever a user comes back to it. */
export function whileSeen(work, milliseconds) {
    const look = () => {
        if (!cockpit.hidden)
            work();
    };
    setInterval(look, milliseconds);
    cockpit.addEventListener("visibilitychange", look);
    window.addEventListener("focus", look);
}
