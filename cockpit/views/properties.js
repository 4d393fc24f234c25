/** A capability as a description list, whatever members it has. */

import { element } from "../page/element.js";
import { deviceLink } from "../page/links.js";
import { _, formatBytes, format } from "../page/words.js";

const DEEPEST = 4;
const LISTED = 100;

/** Return a description list of pairs of a term and what belongs to it; null is left out. */
export function descriptionList(pairs) {
    return element("dl", { class: "properties" }, pairs
            .filter(([, value]) => value !== null && value !== undefined)
            .map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))));
}

/** Return a capability's members; names of `devices` among the values become links. */
export function capabilityList(capability, devices) {
    const { type: _type, ...members } = capability;
    const pairs = Object.entries(members).map(([name, value]) => [term(name), shown(name, value, devices, 1)]);
    const known = pairs.filter(([, value]) => value !== null);
    return known.length ? descriptionList(known) : element("p", { class: "quiet" }, _("No properties."));
}

/** Words of members that are written otherwise. */
const WRITTEN = new Map(Object.entries({
    addr: "address", api: "API", gpu: "GPU", id: "ID", iommu: "IOMMU", lun: "LUN", numa: "NUMA", pci: "PCI",
    uuid: "UUID", vfio: "VFIO", vpd: "VPD",
}));

/** Return the name of a member as words: "iommu_group" as "IOMMU group". */
function term(name) {
    const words = name.replace(/_bytes$/, "").split("_").map(word => WRITTEN.get(word) ?? word).join(" ");
    return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return a value as text or an element; null if there is nothing to show. */
function shown(name, value, devices, depth) {
    if (value === null || value === undefined)
        return null;
    if (typeof value === "boolean")
        return value ? _("yes") : _("no");
    if (typeof value === "number")
        return name.endsWith("_bytes") ? formatBytes(value) : String(value);
    if (typeof value === "string")
        return devices.get(value) ? deviceLink(value) : value;
    if (Array.isArray(value))
        return list(name, value, devices, depth);
    if (Object.keys(value).length === 2 && "id" in value && "name" in value)
        return value.name ? `${value.name} (${value.id})` : value.id;
    if (depth >= DEEPEST)
        return JSON.stringify(value);
    const pairs = Object.entries(value)
            .map(([key, inner]) => [term(key), shown(key, inner, devices, depth + 1)])
            .filter(([, inner]) => inner !== null);
    return pairs.length ? descriptionList(pairs) : null;
}

function list(name, values, devices, depth) {
    if (!values.length)
        return null;
    const first = values.slice(0, LISTED).map(value => shown(name, value, devices, depth + 1)).filter(value => value !== null);
    const rest = values.length - LISTED;
    const more = rest > 0 ? [element("li", {}, format(_("and $0 more"), rest))] : [];
    return element("ul", { class: values.some(value => typeof value === "object") ? "values" : "values inline" },
        first.map(value => element("li", {}, value)), more);
}
