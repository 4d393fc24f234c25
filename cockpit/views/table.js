/** The table of devices, with a filter; rows are made when they are asked for. */

import { ACTIONS, actionsFor } from "../changes/actions.js";
import { searchText, summaryOf } from "../host/describe.js";
import { badge, stateBadge } from "../page/badges.js";
import { element } from "../page/element.js";
import { field } from "../page/field.js";
import { keepFocus } from "../page/focus.js";
import { beforePaint } from "../page/later.js";
import { deviceLink } from "../page/links.js";
import { _, format } from "../page/words.js";
import { section } from "./section.js";

const PAGE_ROWS = 200;

export class TableView {
    #devices;
    #act;
    #canChange = false;
    #limit = PAGE_ROWS;
    #sorted = { version: -1, rows: [] };
    #texts = new WeakMap(); // devices are replaced when they change, so a text lasts as long as one
    #made = new Map(); // name → { device, canChange, row }
    #text = element("input", { type: "search", spellcheck: "false", autocomplete: "off" });
    #kind = element("select", {});
    #count = element("p", { role: "status", class: "quiet" });
    #rows = element("tbody", { role: "rowgroup" });
    #table = element("table", { class: "table", role: "table", "aria-label": _("Devices") },
        element("thead", { role: "rowgroup" }, element("tr", { role: "row" },
            this.#titles().map(title => element("th", { scope: "col", role: "columnheader" }, title)))),
        this.#rows);
    #none = element("div", { class: "empty-state small", hidden: true },
        element("p", {}, _("No device matches the filter.")),
        element("button", { type: "button", class: "button secondary", onclick: () => this.#clear() }, _("Clear the filter")));
    #more = element("button", {
        type: "button", class: "button secondary", hidden: true,
        onclick: () => this.#showMore(),
    }, _("Show more"));
    element;

    /** `act(action, device)` is called for a button of a row. */
    constructor(devices, act) {
        this.#devices = devices;
        this.#act = act;
        const draw = beforePaint(() => this.draw());
        const filter = () => {
            this.#limit = PAGE_ROWS;
            draw();
        };
        this.#text.addEventListener("input", filter);
        this.#kind.addEventListener("input", filter);
        const bar = element("div", { class: "toolbar", role: "search" },
            field(_("Text"), this.#text),
            field(_("Capability"), this.#kind),
            this.#count);
        this.element = section("devices", _("Devices"), {
            body: [bar, this.#table, this.#none, this.#more],
        });
    }

    #titles() {
        return [_("Name"), _("Capabilities"), _("Description"), _("Parent"), _("Driver"), _("State"), _("Actions")];
    }

    /** Show or hide the buttons of rows. */
    allowChanges(allowed) {
        this.#canChange = allowed;
        this.#table.classList.toggle("without-actions", !allowed);
        this.draw();
    }

    /** Show the devices that pass the filter; without the row of the focus, that goes to the filter. */
    draw() {
        keepFocus(this.element, () => this.#draw(), () => this.#text);
    }

    #draw() {
        this.#sort();
        const found = this.#filtered();
        const rows = found.slice(0, this.#limit).map(device => this.#row(device));
        this.#put(rows);
        const words = format(_("$0 of $1"), found.length, this.#devices.size);
        if (this.#count.textContent !== words)
            this.#count.textContent = words;
        this.#table.hidden = found.length === 0;
        this.#none.hidden = found.length !== 0;
        this.#more.hidden = found.length <= this.#limit;
        this.#more.textContent = format(_("Show $0 more"), Math.min(PAGE_ROWS, found.length - this.#limit));
    }

    #showMore() {
        const shown = this.#rows.childElementCount;
        this.#limit += PAGE_ROWS;
        this.draw();
        this.#rows.children[shown]?.querySelector("a").focus();
    }

    #clear() {
        this.#text.value = "";
        this.#kind.value = "";
        this.#text.focus();
        this.draw();
    }

    /** Sort the devices and count capabilities, if anything has changed. */
    #sort() {
        if (this.#sorted.version === this.#devices.version)
            return;
        const rows = [...this.#devices.values()].sort((a, b) => a.name < b.name ? -1 : 1);
        this.#sorted = { version: this.#devices.version, rows };
        const counts = new Map();
        for (const device of rows) {
            for (const { type } of device.capabilities)
                counts.set(type, (counts.get(type) ?? 0) + 1);
        }
        const chosen = this.#kind.value;
        const types = [...counts.keys()].sort();
        if (chosen && !counts.has(chosen))
            types.push(chosen); // its last device is gone; the filter stays
        this.#kind.replaceChildren(
            element("option", { value: "" }, _("All")),
            ...types.map(type => element("option", { value: type }, `${type} (${counts.get(type) ?? 0})`)));
        this.#kind.value = chosen;
        for (const name of this.#made.keys()) {
            if (!this.#devices.get(name))
                this.#made.delete(name);
        }
    }

    #filtered() {
        const words = this.#text.value.toLowerCase().split(/\s+/).filter(Boolean);
        const kind = this.#kind.value;
        if (!words.length && !kind)
            return this.#sorted.rows;
        return this.#sorted.rows.filter(device => {
            if (kind && !device.capabilities.some(one => one.type === kind))
                return false;
            if (!words.length)
                return true;
            let text = this.#texts.get(device);
            if (text === undefined)
                this.#texts.set(device, text = searchText(device));
            return words.every(word => text.includes(word));
        });
    }

    /** Put rows in place; those that are there already stay, and keep the focus. */
    #put(rows) {
        const wanted = new Set(rows);
        for (const row of [...this.#rows.children]) {
            if (!wanted.has(row))
                row.remove();
        }
        let next = this.#rows.firstChild;
        for (const row of rows) {
            if (row === next)
                next = next.nextSibling;
            else
                this.#rows.insertBefore(row, next);
        }
    }

    #row(device) {
        const made = this.#made.get(device.name);
        if (made && made.device === device && made.canChange === this.#canChange)
            return made.row;
        const row = made?.row ?? element("tr", { role: "row" });
        // The user may be on one of its buttons.
        keepFocus(row, () => row.replaceChildren(...this.#cells(device)), () => row.querySelector("a"));
        this.#made.set(device.name, { device, canChange: this.#canChange, row });
        return row;
    }

    #cells(device) {
        const parent = device.parent && this.#devices.get(device.parent)
            ? deviceLink(device.parent)
            : device.parent ?? "–";
        const contents = [
            deviceLink(device.name),
            device.capabilities.map(one => badge(one.type)),
            summaryOf(device) || "–",
            parent,
            device.driver ?? "–",
            stateBadge(device.state),
            this.#canChange ? this.#buttons(device) : [],
        ];
        return this.#titles().map((title, index) => element("td", {
            role: "cell", "data-label": title,
        }, element("div", {}, contents[index])));
    }

    #buttons(device) {
        return actionsFor(device).filter(action => action !== "create").map(action => element("button", {
            type: "button", class: "button secondary small",
            "aria-label": `${ACTIONS[action].label()} ${device.name}`,
            onclick: () => this.#act(action, this.#devices.get(device.name) ?? device),
        }, ACTIONS[action].label()));
    }
}
