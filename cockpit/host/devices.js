/** The devices of the host, as the daemon's events tell them. */

/** A map of devices by name, and what listens to its changes. */
export class Devices {
    #all = new Map();
    #next = null;
    #listeners = new Set();
    /** How often anything has changed. */
    version = 0;

    /** Call `listener(changes)` after each batch of changes; a change has event, name and parts. */
    onChange(listener) {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
    }

    get size() {
        return this.#all.size;
    }

    get(name) {
        return this.#all.get(name);
    }

    values() {
        return this.#all.values();
    }

    /** Begin to collect all devices anew; those of before stay until `ready`. */
    restart() {
        this.#next = new Map();
    }

    /** Apply events of Watch. */
    apply(replies) {
        const changes = [];
        for (const { event, name, device, parts } of replies) {
            if (event === "resync") {
                this.restart();
            } else if (event === "ready") {
                changes.push(...this.#replace());
            } else if (event === "removed") {
                this.#all.delete(name);
                changes.push({ event, name, parts });
            } else if (event === "present") {
                this.#next?.set(name, device);
            } else {
                this.#all.set(name, device);
                changes.push({ event, name, parts });
            }
        }
        if (changes.length || replies.some(reply => reply.event === "ready")) {
            this.version++;
            for (const listener of this.#listeners)
                listener(changes);
        }
    }

    /** Put the devices that were collected in place, and return what changed while nobody watched. */
    #replace() {
        const before = this.#all;
        this.#all = this.#next ?? new Map();
        this.#next = null;
        if (before.size === 0)
            return [];
        const changes = [];
        for (const name of before.keys()) {
            if (!this.#all.has(name))
                changes.push({ event: "removed", name });
        }
        for (const [name, device] of this.#all) {
            const old = before.get(name);
            if (!old)
                changes.push({ event: "added", name });
            else if (JSON.stringify(old) !== JSON.stringify(device))
                changes.push({ event: "changed", name });
        }
        return changes;
    }
}
