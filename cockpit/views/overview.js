/** The page of the host: all its parts, one below the other. */

import { element } from "../page/element.js";
import { beforePaint } from "../page/later.js";
import { _ } from "../page/words.js";
import { EventsView } from "./events.js";
import { FitsView } from "./fits.js";
import { PictureView } from "./picture.js";
import { TableView } from "./table.js";

export class OverviewView {
    #app;
    #picture;
    #table;
    #fits;
    #events = new EventsView();
    #create = element("button", { type: "button", class: "button primary", hidden: true }, _("Create vGPU"));
    #draw = beforePaint(() => {
        this.#table.draw();
        this.#events.draw(this.#app.devices);
    });
    #parts;
    element;

    /** `app` has devices, target, connection, findings, and act(action, device, type). */
    constructor(app) {
        this.#app = app;
        this.#picture = new PictureView(app.target);
        this.#table = new TableView(app.devices, (action, device) => app.act(action, device));
        this.#table.allowChanges(false);
        this.#fits = new FitsView(app.target, app.devices, app.act);
        this.#create.addEventListener("click", () => app.act("create", null));
        this.#parts = element("div", { class: "parts", hidden: true },
            this.#picture.element,
            element("div", { class: "beside" }, app.findings.element, this.#fits.element),
            this.#table.element, this.#events.element);
        this.element = element("div", { class: "page" },
            element("header", { class: "page-head" },
                element("div", {}, element("h1", { tabindex: "-1" }, _("Node devices")), app.connection.status),
                element("div", { class: "page-actions" }, this.#create)),
            this.#parts);
    }

    /** Move the focus to the heading, as after the load of a page. */
    focus() {
        this.element.querySelector("h1").focus();
    }

    /** Show devices that have changed. */
    change(changes) {
        this.#events.add(changes);
        this.#draw();
        this.#picture.soon();
        this.#fits.soon();
    }

    /** Show what changes without an event: a VM opens and closes devices. */
    lookAgain() {
        this.#picture.soon();
    }

    /** Show the parts, once there are data. */
    show(known) {
        this.#parts.hidden = !known;
    }

    /** Show the colours of a dark or a light page. */
    changeTheme() {
        this.#picture.changeTheme();
    }

    /** Show or hide what changes the host. */
    allowChanges(allowed) {
        this.#create.hidden = !allowed;
        this.#table.allowChanges(allowed);
        this.#fits.allowChanges(allowed);
    }
}
