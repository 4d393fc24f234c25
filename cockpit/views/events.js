/** The events since the page was opened, the newest first. */

import { badge } from "../page/badges.js";
import { element } from "../page/element.js";
import { keepFocus } from "../page/focus.js";
import { deviceLink } from "../page/links.js";
import { _, format, formatTime, ngettext } from "../page/words.js";
import { section } from "./section.js";

const KEPT = 200;
const LEVELS = { added: "success", changed: "info", removed: "warning" };

export class EventsView {
    #kept = [];
    #total = 0;
    #count = element("span", { class: "quiet" });
    #rows = element("tbody", { role: "rowgroup" });
    #table = element("table", { class: "table", role: "table", tabindex: "-1", hidden: true, "aria-label": _("Events") },
        element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
            [_("Time"), _("Event"), _("Device"), _("What changed")].map(
                title => element("th", { scope: "col", role: "columnheader" }, title)))),
        this.#rows);
    #none = element("p", { class: "quiet" }, _("Nothing has changed since this page was opened."));
    element = section("events", _("Events"), { beside: [this.#count], body: [this.#none, this.#table] });

    /** Add changes; they are drawn by `draw`. */
    add(changes) {
        const time = new Date();
        this.#total += changes.length;
        for (const change of changes.slice(-KEPT))
            this.#kept.push({ ...change, time });
        this.#kept = this.#kept.slice(-KEPT);
    }

    /** Show the events. */
    draw(devices) {
        if (!this.#total)
            return;
        this.#none.hidden = true;
        this.#table.hidden = false;
        const count = format(ngettext("$0 event", "$0 events", this.#total), this.#total);
        this.#count.textContent = this.#total > KEPT
            ? format(_("$0; the last $1 are shown"), count, KEPT)
            : count;
        const rows = this.#kept.toReversed().map(one => row(one, devices));
        keepFocus(this.element, () => this.#rows.replaceChildren(...rows), () => this.#table);
    }
}

function row({ time, event, name, parts }, devices) {
    const words = { added: _("added"), changed: _("changed"), removed: _("removed") };
    const cells = [
        [_("Time"), formatTime(time)],
        [_("Event"), badge(words[event] ?? event, LEVELS[event])],
        [_("Device"), devices.get(name) ? deviceLink(name) : name],
        [_("What changed"), parts?.join(", ") || "–"],
    ];
    return element("tr", { role: "row" }, cells.map(([title, cell]) => element("td", {
        role: "cell", "data-label": title,
    }, element("div", {}, cell))));
}
