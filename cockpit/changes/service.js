/** The control service: whether it is there for this user, and calls of it. */

import { call } from "../varlink/calls.js";

const cockpit = window.cockpit;

/** Calls of org.nodedevd.Control with the rights of an administrator. */
export class ControlService {
    #target;
    #permission = cockpit.permission({ admin: true });
    #socketExists = false;
    #changed;

    /** `changed` is called when `available` may be different. */
    constructor(path, changed) {
        this.#target = { path, superuser: "require" };
        this.#changed = changed;
        this.#permission.addEventListener("changed", () => changed());
    }

    /** Whether changes can be asked for: there is a socket, and the user is an administrator. */
    get available() {
        return this.#socketExists && this.#permission.allowed === true;
    }

    /** Look for the socket; a connection would start the service. */
    look() {
        return cockpit.spawn(["test", "-S", this.#target.path])
                .then(() => true)
                .catch(() => false)
                .then(exists => {
                    if (exists !== this.#socketExists) {
                        this.#socketExists = exists;
                        this.#changed();
                    }
                });
    }

    /** Return a promise of what a change would do; nothing is done. */
    plan(method, parameters) {
        return this.#ask(method, { ...parameters, dry_run: true });
    }

    /** Have a change made, and return a promise of its answer. */
    change(method, parameters) {
        return this.#ask(method, parameters);
    }

    /** Return a promise of who made the device, null if nobody knows of it. */
    async made(name) {
        const { devices } = await this.#ask("List", {});
        return devices.find(one => one.name === name) ?? null;
    }

    #ask(method, parameters) {
        const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
        return call(this.#target, `org.nodedevd.Control.${method}`, Object.fromEntries(given));
    }
}
