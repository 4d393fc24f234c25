/** Texts of the host, in which nothing is hidden and nothing changes the direction of others. */

const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]/gu;
const SHORT = new Map([["\t", "\\t"], ["\r", "\\r"], ["\n", "\\n"]]);

/** Return a text with escapes for what cannot be seen, as nodedevctl prints it; a line feed becomes ", ". */
export function printable(text) {
    return text.replace(/\r?\n$/, "").replace(/\r?\n/g, ", ").replace(UNSEEN, escaped);
}

/** Return lines of text, made printable. */
export function printableLines(text) {
    return text.split("\n").map(printable).join("\n");
}

function escaped(character) {
    const code = character.codePointAt(0).toString(16);
    const [letter, digits] = code.length <= 2 ? ["x", 2] : code.length <= 4 ? ["u", 4] : ["U", 8];
    return SHORT.get(character) ?? `\\${letter}${code.padStart(digits, "0")}`;
}
