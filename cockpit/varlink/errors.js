/** How a call fails: the service refuses it, or the service cannot be reached. */

/** The service has replied with an error. */
export class Refused extends Error {
    /** `error` is the full name of the error, `parameters` are those of the reply. */
    constructor(error, parameters) {
        super(error);
        this.error = error;
        this.name = error.slice(error.lastIndexOf(".") + 1);
        this.parameters = parameters ?? {};
    }
}

/**
 * The service cannot be reached, or the connection has ended.
 *
 * `kind` is "absent" (nobody listens), "forbidden" (this user may not connect), "lost" (the
 * connection has ended) or "garbled" (what came is no Varlink).
 */
export class Unreachable extends Error {
    constructor(kind, detail = "") {
        super(detail || kind);
        this.kind = kind;
        this.detail = detail;
    }
}

const NOBODY_LISTENS = [2, 111]; // ENOENT, ECONNREFUSED
const NOT_PERMITTED = [1, 13]; // EPERM, EACCES

/** Return the kind of failure that Cockpit reports by a channel's `problem` and `message`. */
export function kindOf(problem, message) {
    if (problem === "not-found")
        return "absent";
    if (problem === "access-denied" || problem === "authentication-failed")
        return "forbidden";
    // Newer bridges report most errors of connect(2) as "terminated", with errno in the message.
    const errno = Number(/\[Errno (\d+)\]/.exec(message ?? "")?.[1]);
    if (NOBODY_LISTENS.includes(errno))
        return "absent";
    return NOT_PERMITTED.includes(errno) ? "forbidden" : "lost";
}
