/** What the page says about its connection with the daemon. */

import { sentence } from "../changes/refusals.js";
import { alert } from "../page/alert.js";
import { commands } from "../page/copying.js";
import { element } from "../page/element.js";
import { _, format, formatTime, ngettext } from "../page/words.js";

const START = "systemctl enable --now nodedevd.socket nodedevd.service";

/** The line below the heading, and the message that stands in for the page or above old data. */
export class ConnectionView {
    status = element("p", { role: "status", class: "status" });
    message = element("div", { class: "connection" });
    #shown = null;

    /** Show the state of a HostWatch. */
    show(watch, devices, socket) {
        const known = watch.since !== null;
        const status = this.#status(watch, devices, known);
        if (this.status.textContent !== status)
            this.status.textContent = status; // the same text again would be read aloud again
        const shown = `${watch.state} ${known} ${watch.error?.message}`;
        if (shown !== this.#shown) {
            this.#shown = shown;
            this.message.replaceChildren(...this.#message(watch, known, socket));
        }
    }

    #status(watch, devices, known) {
        if (watch.state === "connecting")
            return _("Connecting to nodedevd …");
        const count = format(ngettext("$0 device", "$0 devices", devices.size), devices.size);
        if (watch.state === "ready")
            return count;
        return known
            ? format(_("$0, as of $1; not connected"), count, formatTime(watch.since))
            : _("Not connected");
    }

    #message(watch, known, socket) {
        if (watch.state === "ready" || watch.state === "connecting")
            return [];
        const again = element("p", { class: "quiet" }, _("This page connects again by itself; you need not reload it."));
        if (known) {
            return [alert("warning",
                format(_("The connection to nodedevd was lost at $0. What you see is of that time."), formatTime(watch.since)),
                watch.state === "lost" ? [] : reason(watch, socket), again)];
        }
        return [element("div", { class: "empty-state" },
            element("h2", {}, TITLES[watch.state]?.() ?? _("No connection to nodedevd")),
            reason(watch, socket), again)];
    }
}

const TITLES = {
    absent: () => _("nodedevd does not run"),
    forbidden: () => _("You may not connect to nodedevd"),
    garbled: () => _("nodedevd cannot be understood"),
    refused: () => _("nodedevd refuses the connection"),
};

function reason(watch, socket) {
    switch (watch.state) {
    case "absent":
        return [
            element("p", {}, format(_("No daemon answers on $0. Start it, as root:"), socket)),
            commands([START]),
        ];
    case "forbidden":
        return [element("p", {}, format(
            _("The socket $0 is closed to this user. Join its group, or set SocketMode= and SocketGroup= in nodedevd.socket."),
            socket))];
    case "refused":
        return [element("p", {}, sentence(watch.error))];
    case "garbled":
        return [element("p", {}, format(_("What answers on $0 is not nodedevd: $1"), socket, watch.error.detail))];
    default:
        return [element("p", {}, format(_("The connection to $0 ended."), socket))];
    }
}
