/** Calls of a Varlink service on a Unix socket, each on a channel of Cockpit's bridge. */

import { Decoder, encode } from "./frames.js";
import { Refused, Unreachable, kindOf } from "./errors.js";

const cockpit = window.cockpit;

/**
 * Make a call that may have several replies.
 *
 * `target` has the `path` of the socket and, for calls with the rights of an administrator,
 * `superuser: "require"`. `onReplies` gets arrays of the replies' parameters, `onEnd` once null
 * after the last reply, otherwise a Refused or an Unreachable. Returns a function that ends the call.
 */
export function stream(target, method, parameters, { more = true, onReplies, onEnd }) {
    // Without `binary` a NUL byte ends the connection of all pages with the bridge.
    const options = { payload: "stream", unix: target.path, binary: true };
    if (target.superuser)
        options.superuser = target.superuser;
    const channel = cockpit.channel(options);
    const decoder = new Decoder();
    let ended = false;

    function end(outcome) {
        if (ended)
            return;
        ended = true;
        channel.close(); // calls the handler of "close" at once
        onEnd(outcome);
    }

    function receive(bytes) {
        let messages;
        try {
            messages = decoder.push(bytes);
        } catch (error) {
            end(new Unreachable("garbled", error.message));
            return;
        }
        const replies = [];
        let outcome;
        for (const message of messages) {
            if (message.error)
                outcome = new Refused(message.error, message.parameters);
            else
                replies.push(message.parameters ?? {});
            if (outcome === undefined && !message.continues)
                outcome = null;
            if (outcome !== undefined)
                break;
        }
        if (replies.length)
            onReplies(replies);
        if (outcome !== undefined)
            end(outcome);
    }

    channel.addEventListener("message", (_event, bytes) => !ended && receive(bytes));
    channel.addEventListener("close", (_event, { problem, message }) => {
        end(new Unreachable(kindOf(problem, message), message || problem || ""));
    });
    channel.send(encode({ method, parameters, more }));
    return () => {
        ended = true;
        channel.close();
    };
}

/** Make a call that has one reply, and return a promise of its parameters. */
export function call(target, method, parameters = {}) {
    return new Promise((resolve, reject) => {
        let reply = {};
        stream(target, method, parameters, {
            more: false,
            onReplies: replies => { [reply] = replies },
            onEnd: outcome => outcome === null ? resolve(reply) : reject(outcome),
        });
    });
}
