/** The findings of doctor, with what to do about each. */

import { examine } from "../host/doctor.js";
import { severityBadge } from "../page/badges.js";
import { commands } from "../page/copying.js";
import { element } from "../page/element.js";
import { keepFocus } from "../page/focus.js";
import { whenQuiet } from "../page/later.js";
import { deviceLink } from "../page/links.js";
import { printable } from "../page/printable.js";
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
    #examining = false;
    #most = SHOWN;
    #items = new Map(); // text of a finding → its element, which the user may have opened
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

    /** Examine the host now; while it is examined, once more after that. */
    async examine() {
        if (this.#examining) {
            this.soon();
            return;
        }
        this.#examining = true;
        this.#again.setAttribute("aria-disabled", "true"); // `disabled` would take the focus away
        if (!this.#verdict.textContent)
            this.#verdict.textContent = _("Checking this host …");
        try {
            const { command, socket, sysroot } = this.#host;
            this.#show(await examine(command, socket, sysroot));
        } catch (error) {
            this.found = [];
            keepFocus(this.element, () => this.#draw(), () => this.#again);
            this.#verdict.textContent = error.missing
                ? format(_("The command $0 is missing: install nodedevd on this host, or link it into /usr/bin."), this.#host.command[0])
                : format(_("This host was not checked: $0"), printable(error.message));
        }
        this.#examining = false;
        this.#again.removeAttribute("aria-disabled");
        for (const listener of this.#listeners)
            listener();
    }

    #show({ findings, device_count: checked }) {
        const same = JSON.stringify(findings) === JSON.stringify(this.found);
        this.found = findings;
        if (!same)
            keepFocus(this.element, () => this.#draw(), () => this.#again);
        const count = format(ngettext("$0 device checked", "$0 devices checked", checked), checked);
        const verdict = findings.length
            ? format(ngettext("$0 finding; $1.", "$0 findings; $1.", findings.length), findings.length, count)
            : format(_("No problems found; $0."), count);
        if (this.#verdict.textContent !== verdict)
            this.#verdict.textContent = verdict;
    }

    #draw() {
        const before = this.#items;
        this.#items = new Map(this.found.slice(0, this.#most).map(one => {
            const key = JSON.stringify(one);
            return [key, before.get(key) ?? item(one)];
        }));
        this.#list.replaceChildren(list([...this.#items.values()]));
        if (this.found.length > this.#most) {
            this.#list.append(element("button", {
                type: "button", class: "button link", onclick: () => this.#showAll(),
            }, format(_("Show all $0 findings"), this.found.length)));
        }
    }

    #showAll() {
        const shown = this.#most;
        this.#most = Infinity;
        this.#draw();
        [...this.#items.values()][shown].querySelector("a, summary").focus();
    }
}

/** Return findings as a list; each opens to show its remedy. */
export function findingList(findings) {
    return list(findings.map(item));
}

function list(items) {
    return element("ul", { class: "finding-list" }, items);
}

function item(one) {
    return element("li", {},
        element("div", { class: "finding-head" },
            severityBadge(one.severity),
            one.device ? deviceLink(one.device) : element("span", {}, _("This host"))),
        element("p", { class: "finding-text" }, one.text),
        element("details", {},
            element("summary", {}, _("What to do"),
                element("span", { class: "visually-hidden" }, ` (${one.code}${one.device ? `, ${one.device}` : ""})`)),
            element("p", {}, one.advice),
            one.mend.length ? commands(one.mend) : null,
            element("p", { class: "quiet" }, format(_("Code: $0"), one.code))));
}
