/** Links between the parts of the page. */

import { element } from "./element.js";

const cockpit = window.cockpit;

/** Return a link to the details of a device; `text` is its name by default. */
export function deviceLink(name, text = name) {
    return element("a", { href: `#/device/${encodeURIComponent(name)}`, class: "device-link" }, text);
}

/** Show the details of a device. */
export function showDevice(name) {
    cockpit.location.go(["device", name]);
}
