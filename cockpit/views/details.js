/** One device: what it is, its properties, its XML, and what can be done with it. */

import { ACTIONS, actionsFor } from "../changes/actions.js";
import { madeBy } from "../changes/confirm.js";
import { capability, summaryOf } from "../host/describe.js";
import { badge, stateBadge } from "../page/badges.js";
import { element } from "../page/element.js";
import { keepFocus } from "../page/focus.js";
import { beforePaint } from "../page/later.js";
import { deviceLink } from "../page/links.js";
import { printable } from "../page/printable.js";
import { _, format } from "../page/words.js";
import { call } from "../varlink/calls.js";
import { findingList } from "./findings.js";
import { capabilityList, descriptionList } from "./properties.js";
import { section } from "./section.js";
import { XmlView } from "./xml.js";

const CHILDREN = 100;

export class DetailsView {
    #app;
    #name;
    #device;
    #open = null;
    #made = null;
    #drawn = new Map(); // id → { key, made }
    #heading = element("h1", { tabindex: "-1" });
    #about = element("p", { class: "status" });
    #buttons = element("div", { class: "page-actions" });
    #gone = element("div", { role: "status", class: "gone" });
    #parts = element("div", { class: "parts" });
    #xml;
    draw = beforePaint(() => keepFocus(this.element, () => this.#draw(), () => this.#heading));
    element;

    /** `app` has devices, target, service, findings, and act(action, device). */
    constructor(app, name) {
        this.#app = app;
        this.#name = name;
        this.#xml = new XmlView(app.target, name);
        this.#heading.textContent = printable(name);
        this.element = element("div", { class: "page" },
            element("nav", { "aria-label": _("Breadcrumb"), class: "breadcrumb" },
                element("ol", {},
                    element("li", {}, element("a", { href: "#/" }, _("Node devices"))),
                    element("li", { "aria-current": "page" }, name))),
            element("header", { class: "page-head" },
                element("div", {}, this.#heading, this.#about), this.#buttons),
            this.#gone, this.#parts);
    }

    /** Move the focus to the heading, as after the load of a page. */
    focus() {
        this.#heading.focus();
    }

    /** Show what changes without an event: a VM opens and closes the device. */
    lookAgain() {
        const device = this.#app.devices.get(this.#name);
        if (device)
            this.#askUse(device);
    }

    #draw() {
        const { devices, findings } = this.#app;
        if (devices.version === 0)
            return; // nothing is known yet, and the page says so
        const device = devices.get(this.#name);
        if (!device) {
            this.#tell(this.#device
                ? _("This device is no longer present. What you see is how it was.")
                : format(_("There is no device named $0."), this.#name));
            if (!this.#device) {
                this.#about.replaceChildren();
                return;
            }
        } else {
            this.#tell("");
        }
        const shown = device ?? this.#device;
        if (device && device !== this.#device) {
            this.#device = device;
            this.#xml.draw();
            this.#askUse(device);
            this.#askMade(device);
        }
        const about = summaryOf(shown);
        this.#about.replaceChildren(stateBadge(shown.state), ...(about ? [" ", printable(about)] : []));
        this.#drawButtons(device);
        const own = findings.found.filter(one => one.device === this.#name);
        const below = this.#below();
        this.#fill([
            own.length ? this.#part("device-findings", _("Findings"), own, () => [findingList(own)]) : null,
            this.#part("properties", _("Properties"), [shown, this.#open, this.#made, devices.get(shown.parent) && true],
                () => [this.#general(shown), ...this.#capabilities(shown)]),
            this.#xml.element,
            below.length ? this.#part("children", _("Devices below it"), below, () => [this.#children(below)]) : null,
        ].filter(Boolean));
    }

    #tell(text) {
        if (this.#gone.textContent !== text)
            this.#gone.replaceChildren(...text ? [element("p", { class: "alert warning" }, text)] : []);
    }

    /** Return a section, the same as before if what it shows is: it may have the focus. */
    #part(id, title, shows, body) {
        const key = JSON.stringify(shows);
        if (this.#drawn.get(id)?.key !== key)
            this.#drawn.set(id, { key, made: section(id, title, { body: body() }) });
        return this.#drawn.get(id).made;
    }

    /** Replace the parts, and keep the element of the XML, which has the focus perhaps. */
    #fill(parts) {
        const kept = new Set(parts);
        for (const old of [...this.#parts.children]) {
            if (!kept.has(old))
                old.remove();
        }
        let before = this.#parts.firstChild;
        for (const part of parts) {
            if (part === before)
                before = before.nextSibling;
            else
                this.#parts.insertBefore(part, before);
        }
    }

    #drawButtons(device) {
        const wanted = device && this.#app.service.available ? actionsFor(device) : [];
        const key = wanted.join(" ");
        if (this.#buttons.dataset.key === key)
            return;
        this.#buttons.dataset.key = key;
        this.#buttons.replaceChildren(...wanted.map(action => element("button", {
            type: "button", class: `button ${ACTIONS[action]?.danger ? "danger" : "primary"}`,
            onclick: () => this.#app.act(action, this.#device),
        }, ACTIONS[action]?.label() ?? _("Create vGPU"))));
    }

    #general(device) {
        const { devices } = this.#app;
        const errors = device.errors.map(one => `${one.attribute}: ${one.detail} (${one.code})`);
        return descriptionList([
            [_("Kernel name"), device.sysname],
            [_("Path"), device.path],
            [_("Parent"), device.parent && (devices.get(device.parent) ? deviceLink(device.parent) : device.parent)],
            [_("Subsystem"), device.subsystem],
            [_("Driver"), device.driver],
            [_("Device node"), device.devnode],
            [_("Links to the node"), device.devlinks.length ? device.devlinks.join(", ") : null],
            [_("In use"), this.#open],
            [_("Made by"), this.#made],
            [_("Unknown values"), errors.length
                ? element("ul", { class: "values" }, errors.map(text => element("li", {}, text))) : null],
        ]);
    }

    #capabilities(device) {
        return device.capabilities.map(one => element("div", { class: "capability" },
            element("h3", {}, _("Capability"), " ", badge(one.type)),
            capabilityList(one, this.#app.devices)));
    }

    #below() {
        const names = [];
        for (const device of this.#app.devices.values()) {
            if (device.parent === this.#name)
                names.push(device.name);
        }
        return names.sort();
    }

    #children(names) {
        const rest = names.length - CHILDREN;
        return element("ul", { class: "values" },
            names.slice(0, CHILDREN).map(name => element("li", {}, deviceLink(name))),
            rest > 0 ? element("li", {}, format(_("and $0 more"), rest)) : null);
    }

    async #askUse(device) {
        const vfio = device.driver?.includes("vfio") || capability(device, "mdev_child");
        if (!vfio || device.state === "inactive")
            return this.#set({ open: null });
        try {
            const reply = await call(this.#app.target, "org.nodedevd.Devices.InUse", { names: [this.#name] });
            const [use] = reply.devices;
            const words = { yes: _("yes"), no: _("no"), unknown: _("unknown") };
            const holders = use.holders.map(one => `${one.vm?.name ?? one.process} (${one.pid})`).join(", ");
            return this.#set({ open: holders ? `${words[use.open]}: ${holders}` : words[use.open] });
        } catch {
            return this.#set({ open: null }); // it has just gone
        }
    }

    async #askMade(device) {
        if (!this.#app.service.available || !actionsFor(device).some(action => action === "remove" || action === "stop"))
            return this.#set({ made: null });
        const made = await this.#app.service.made(this.#name).catch(() => null);
        return this.#set({ made: made && madeBy(made) });
    }

    #set({ open = this.#open, made = this.#made }) {
        if (open === this.#open && made === this.#made)
            return;
        this.#open = open;
        this.#made = made;
        this.draw();
    }
}
