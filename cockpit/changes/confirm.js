/** The dialogs that start, stop and remove a device. */

import { capability } from "../host/describe.js";
import { element } from "../page/element.js";
import { field } from "../page/field.js";
import { _, format } from "../page/words.js";
import { ACTIONS } from "./actions.js";
import { openDialog } from "./dialog.js";

/** Open the dialog of an action on a device; `done` gets a sentence when it has succeeded. */
export async function openConfirm(service, action, device, done) {
    const { method, label, title, about, danger, done: sentence } = ACTIONS[action];
    // The dialog opens also if nobody can say who made the device; the plan then says why.
    const made = method === "Start" ? null : await service.made(device.name).catch(() => null);
    const owner = element("input", { type: "text", spellcheck: "false", autocomplete: "off" });
    openDialog(service, {
        title: format(title(), device.name),
        about: about(),
        fields: [
            made ? element("p", { class: "quiet" }, madeBy(made)) : null,
            field(_("Owner"), owner, _("Give it if the vGPU was made with an owner.")),
        ],
        method,
        label: label(),
        danger: Boolean(danger),
        parameters: () => ({
            name: device.name,
            // A UUID may be defined for several parents.
            parent: method === "Start" ? capability(device, "mdev_child")?.parent_addr ?? null : null,
            owner: owner.value.trim(),
            // Another device that took its place meanwhile is left alone.
            generation: made?.generation ?? null,
        }),
        done: () => done(format(sentence(), device.name)),
    });
}

/** Return a sentence about who made a device, from the control service's List. */
export function madeBy({ origin, owner }) {
    const who = {
        client: _("Made by nodedevd for a client."),
        definition: _("Started from its definition by nodedevd."),
        domain: _("Made by nodedevd's hook for a domain of libvirt."),
        layout: _("Made by nodedevd from the layout of the host."),
    }[origin] ?? _("Not made by nodedevd.");
    return owner ? `${who} ${format(_("Owner: $0"), owner)}` : who;
}
