/** The findings of doctor, with what to do about each. */

import { examine } from "../host/doctor.js";
import { severityBadge } from "../page/badges.js";
import { commands } from "../page/copying.js";
import { element } from "../page/element.js";
import { whenQuiet } from "../page/later.js";
import { deviceLink } from "../page/links.js";
import { _, format, ngettext } from "../page/words.js";
import { section } from "./section.js";

const QUIET_MS = 2000;
const SHOWN = 20;

export class FindingsView {
    #host;
    #list = element("div", { class: "findings" });
    #verdict = element("p", { role: "status" });
    #again = element("button", { type: "button", class: "button secondary", onclick: () => this.examine() }, _("Check again"));
    #listeners = new Set();
    #examineSoon = whenQuiet(() => this.examine(), QUIET_MS, 15 * QUIET_MS);
    /** The newest findings. */
    found = [];
    element = section("findings", _("Findings"), {
        beside: [this.#again], body: [this.#verdict, this.#list],
    });

    /** `host` has `command`, `socket`, and the daemon's `sysroot` once it is known. */
    constructor(host) {
        this.#host = host;
    }

    /** Call a function when there are new findings. */
    onChange(listener) {
        this.#listeners.add(listener);
    }

    /** Examine the host once nothing has changed for a while. */
    soon() {
        this.#examineSoon();
    }

    /** Examine the host now. */
    async examine() {
        this.#again.disabled = true;
        if (!this.#verdict.textContent)
            this.#verdict.textContent = _("Checking this host …");
        try {
            const { command, socket, sysroot } = this.#host;
            this.#show(await examine(command, socket, sysroot));
        } catch (error) {
            this.found = [];
            this.#list.replaceChildren();
            this.#verdict.textContent = error.missing
                ? format(_("The command $0 is missing: install nodedevd on this host, or link it into /usr/bin."), this.#host.command[0])
                : format(_("This host was not checked: $0"), error.message);
        }
        this.#again.disabled = false;
        for (const listener of this.#listeners)
            listener();
    }

    #show({ findings, device_count: checked }) {
        const same = JSON.stringify(findings) === JSON.stringify(this.found);
        this.found = findings;
        const count = format(ngettext("$0 device checked", "$0 devices checked", checked), checked);
        const verdict = findings.length
            ? format(ngettext("$0 finding; $1.", "$0 findings; $1.", findings.length), findings.length, count)
            : format(_("No problems found; $0."), count);
        if (this.#verdict.textContent !== verdict)
            this.#verdict.textContent = verdict;
        if (same)
            return; // the user may have opened one
        this.#list.replaceChildren(findingList(findings.slice(0, SHOWN)));
        if (findings.length > SHOWN) {
            const all = element("button", {
                type: "button", class: "button link",
                onclick: () => this.#list.replaceChildren(findingList(findings)),
            }, format(_("Show all $0 findings"), findings.length));
            this.#list.append(all);
        }
    }
}

/** Return findings as a list; each opens to show its remedy. */
export function findingList(findings) {
    return element("ul", { class: "finding-list" }, findings.map(one => element("li", {},
        element("div", { class: "finding-head" },
            severityBadge(one.severity),
            one.device ? deviceLink(one.device) : element("span", {}, _("This host"))),
        element("p", { class: "finding-text" }, one.text),
        element("details", {},
            element("summary", {}, _("What to do"),
                element("span", { class: "visually-hidden" }, ` (${one.code}${one.device ? `, ${one.device}` : ""})`)),
            element("p", {}, one.advice),
            one.mend.length ? commands(one.mend) : null,
            element("p", { class: "quiet" }, format(_("Code: $0"), one.code))))));
}
