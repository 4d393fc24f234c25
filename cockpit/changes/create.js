/** The dialog that creates vGPUs. */

import { call } from "../varlink/calls.js";
import { alert } from "../page/alert.js";
import { element } from "../page/element.js";
import { field } from "../page/field.js";
import { _, format } from "../page/words.js";
import { openDialog } from "./dialog.js";

/** Return a random UUID, also where the connection is not secure. */
function randomUuid() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Return the parameters for the functions of a plan alone: where they have no room, it is refused. */
function asPlanned(parameters, steps) {
    const places = { "create-mdev": "parent", "set-profile": "function" };
    const names = steps.filter(one => one.step in places).map(one => one[places[one.step]]);
    return names.length ? { ...parameters, names: [...new Set(names)] } : parameters;
}

/** Open the dialog; `place` is the name of a parent, function or card, null for any. */
export async function openCreate(service, daemon, { place = null, type = null, done, failed }) {
    let types;
    try {
        ({ types } = await call(daemon, "org.nodedevd.Devices.Types", place ? { names: [place] } : {}));
    } catch (error) {
        failed(error);
        return;
    }
    const offered = new Map();
    for (const one of types) {
        if (one.type !== null && (!offered.has(one.type) || one.available !== 0))
            offered.set(one.type, one);
    }
    type ??= [...offered.values()].find(one => one.available !== 0)?.type;
    const kinds = element("select", {}, [...offered.values()].map(one => element("option", {
        value: one.type, selected: one.type === type,
    }, one.type_name ? `${one.type_name} (${one.type})` : one.type)));
    const places = element("select", {});
    const count = element("input", { type: "number", min: "1", max: "256", value: "1", required: true });
    const uuid = element("input", { type: "text", value: randomUuid(), spellcheck: "false", autocomplete: "off" });
    const owner = element("input", { type: "text", spellcheck: "false", autocomplete: "off" });
    const uuidField = field(_("UUID"), uuid);

    function showPlaces() {
        const found = types.filter(one => one.type === kinds.value);
        const names = found.flatMap(one => [
            one.card,
            ...one.functions.filter(other => other.available !== 0).map(other => other.name),
        ]);
        const chosen = places.value || place || "";
        places.replaceChildren(
            element("option", { value: "" }, _("Wherever it fits")),
            ...[...new Set([...names, ...(place ? [place] : [])])].map(
                name => element("option", { value: name, selected: name === chosen }, name)));
    }

    function showUuid() {
        // The profile of a function has no UUID, and several mdevs have one each.
        uuidField.hidden = offered.get(kinds.value)?.framework !== "mdev" || count.value !== "1";
    }

    kinds.addEventListener("input", showPlaces);
    kinds.addEventListener("input", showUuid);
    count.addEventListener("input", showUuid);
    showPlaces();
    showUuid();
    const fields = offered.size
        ? [
            field(_("Type"), kinds), field(_("Place"), places), field(_("Number"), count), uuidField,
            field(_("Owner"), owner, _("Optional, such as the name of a VM. The vGPU is removed only by giving the same owner.")),
        ]
        : [alert("info", _("No card of this host offers types of vGPUs."))];
    openDialog(service, {
        title: _("Create vGPU"),
        about: null,
        fields,
        method: "Create",
        label: _("Create"),
        danger: false,
        parameters: () => offered.size && count.checkValidity()
            ? {
                type: kinds.value,
                names: places.value ? [places.value] : null,
                count: Number(count.value),
                uuid: uuidField.hidden ? null : uuid.value.trim(),
                owner: owner.value.trim(),
            }
            : null,
        asPlanned,
        done: answer => done(format(
            answer.steps.length ? _("$0 is created.") : _("$0 was there already; nothing was created."),
            answer.devices.map(one => one.name).join(", "))),
    });
}
