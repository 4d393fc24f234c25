/** A device's XML, in a format of choice. */

import { copyButton } from "../page/copying.js";
import { element, newId } from "../page/element.js";
import { printable } from "../page/printable.js";
import { _ } from "../page/words.js";
import { sentence } from "../changes/refusals.js";
import { call } from "../varlink/calls.js";
import { Refused } from "../varlink/errors.js";
import { section } from "./section.js";

export class XmlView {
    #target;
    #name;
    #format = element("select", { id: newId("format") },
        element("option", { value: "nodedevd" }, "nodedevd"), element("option", { value: "libvirt" }, "libvirt"));
    #text = element("pre", { tabindex: "0", role: "group", "aria-label": _("XML") });
    element = section("xml", _("XML"), {
        beside: [
            element("div", { class: "field inline" },
                element("label", { for: this.#format.id }, _("Format")), this.#format),
            copyButton(() => this.#text.textContent, _("Copy the XML")),
        ],
        body: [this.#text],
    });

    constructor(target, name) {
        this.#target = target;
        this.#name = name;
        this.#format.addEventListener("input", () => this.draw());
    }

    /** Ask for the XML, and show it. */
    async draw() {
        const format = this.#format.value;
        let text;
        try {
            const reply = await call(this.#target, "org.nodedevd.Devices.DumpXML", { names: [this.#name], format });
            text = reply.xml;
        } catch (error) {
            if (!(error instanceof Refused))
                return; // the connection has gone, and the page says so
            text = error.name === "NotInFormat"
                ? _("This format does not show the device.")
                : printable(sentence(error));
        }
        if (format === this.#format.value && this.#text.textContent !== text)
            this.#text.textContent = text;
    }
}
