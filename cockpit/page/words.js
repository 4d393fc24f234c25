/** Translated texts, by Cockpit's convention: English is the key. */

const cockpit = globalThis.cockpit; // absent in tests without a browser

/** Return the translation of a text. */
export function _(text) {
    return cockpit ? cockpit.gettext(text) : text;
}

/** Return the translation of a text that depends on a number. */
export function ngettext(one, several, number) {
    if (cockpit)
        return cockpit.ngettext(one, several, number);
    return number === 1 ? one : several;
}

/** Return a text with $0, $1, … replaced by values. */
export function format(text, ...values) {
    return text.replace(/\$(\d)/g, (_whole, index) => String(values[index] ?? ""));
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Return a size in the units that types of vGPUs are named with: 1 GB has 2^30 bytes. */
export function formatBytes(bytes) {
    let unit = 0;
    while (bytes >= 1024 && unit < UNITS.length - 1) {
        bytes /= 1024;
        unit++;
    }
    return `${Number(bytes.toFixed(1))} ${UNITS[unit]}`;
}

/** Return a time of day in the language of the page. */
export function formatTime(date) {
    return date.toLocaleTimeString(document.documentElement.lang || undefined);
}
