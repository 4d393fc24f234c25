/**
 * Varlink's framing: a JSON object in UTF-8, followed by a NUL byte.
 *
 * It knows neither sockets nor Cockpit, so that Node.js can test it.
 */

/** A longer message is an error: nothing that nodedevd sends comes near it. */
export const LIMIT_BYTES = 256 * 1024 * 1024;

/** Return the bytes of a message. */
export function encode(message) {
    return new TextEncoder().encode(JSON.stringify(message) + "\0");
}

/** Puts messages together from pieces that are cut anywhere, also within a character. */
export class Decoder {
    #limit;
    #pieces = [];
    #size = 0;
    #text = new TextDecoder("utf-8", { fatal: true });

    constructor(limit = LIMIT_BYTES) {
        this.#limit = limit;
    }

    /** Return the messages that end in these bytes; throw if one is no JSON object, or too long. */
    push(bytes) {
        const messages = [];
        let start = 0;
        for (let end; (end = bytes.indexOf(0, start)) >= 0; start = end + 1) {
            this.#keep(bytes.subarray(start, end));
            messages.push(this.#take());
        }
        this.#keep(bytes.subarray(start));
        return messages;
    }

    #keep(piece) {
        this.#size += piece.length;
        if (this.#size > this.#limit)
            throw new RangeError(`a message has more than ${this.#limit} bytes`);
        if (piece.length)
            this.#pieces.push(piece);
    }

    #take() {
        let whole = this.#pieces[0] ?? new Uint8Array();
        if (this.#pieces.length > 1) {
            whole = new Uint8Array(this.#size);
            let at = 0;
            for (const piece of this.#pieces) {
                whole.set(piece, at);
                at += piece.length;
            }
        }
        this.#pieces = [];
        this.#size = 0;
        const message = JSON.parse(this.#text.decode(whole));
        if (message === null || typeof message !== "object" || Array.isArray(message))
            throw new TypeError("a message is no JSON object");
        return message;
    }
}
