/** Follows the daemon, and connects again when it has gone. */

import { stream } from "../varlink/calls.js";

const RETRY_SECONDS = [0.5, 1, 2, 4, 8];

/**
 * Keeps devices true to the daemon.
 *
 * `state` is "connecting", "ready", or why there is no connection: an Unreachable's kind, or
 * "refused", with the error in `error`. `since` is until when the devices were true: when the last
 * data came, or when a complete connection was lost; null before there were any.
 */
export class HostWatch {
    #target;
    #devices;
    #changed;
    #tries = 0;
    #retry = null;
    state = "connecting";
    error = null;
    since = null;

    constructor(target, devices, changed) {
        this.#target = target;
        this.#devices = devices;
        this.#changed = changed;
    }

    /** Connect, now. */
    start() {
        clearTimeout(this.#retry);
        this.#devices.restart();
        stream(this.#target, "org.nodedevd.Devices.Watch", { content: "json" }, {
            onReplies: replies => {
                this.#devices.apply(replies);
                const complete = replies.some(reply => reply.event === "ready");
                if (complete || this.state === "ready")
                    this.since = new Date();
                if (complete && this.state !== "ready") {
                    this.#tries = 0;
                    this.#set("ready", null);
                }
            },
            onEnd: outcome => this.#lost(outcome),
        });
    }

    #lost(outcome) {
        if (this.state === "ready")
            this.since = new Date();
        const seconds = RETRY_SECONDS[Math.min(this.#tries++, RETRY_SECONDS.length - 1)];
        this.#retry = setTimeout(() => this.start(), seconds * 1000);
        this.#set(outcome?.kind ?? (outcome ? "refused" : "lost"), outcome);
    }

    #set(state, error) {
        this.state = state;
        this.error = error;
        this.#changed();
    }
}
