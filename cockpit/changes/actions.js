/** What can be done with a device. */

import { capability } from "../host/describe.js";
import { _ } from "../page/words.js";

/** The actions: the method, what the button says, and what is said when it is done. */
export const ACTIONS = {
    start: {
        method: "Start",
        label: () => _("Start"),
        title: () => _("Start $0?"),
        done: () => _("$0 is started."),
        about: () => _("The mdev is created from its definition."),
    },
    stop: {
        method: "Stop",
        label: () => _("Stop"),
        title: () => _("Stop $0?"),
        done: () => _("$0 is stopped."),
        about: () => _("The mdev is removed, and its definition stays."),
        danger: true,
    },
    remove: {
        method: "Remove",
        label: () => _("Remove"),
        title: () => _("Remove $0?"),
        done: () => _("$0 is removed."),
        about: () => _("A VM that uses the vGPU loses it."),
        danger: true,
    },
};

/** Return the names of the actions that make sense for a device, "create" among them. */
export function actionsFor(device) {
    const mdev = capability(device, "mdev_child");
    if (mdev)
        return device.state === "inactive" ? ["start"] : mdev.has_definition ? ["stop"] : ["remove"];
    const vgpu = capability(device, "vgpu");
    if (vgpu?.current)
        return ["remove"];
    return vgpu || capability(device, "mdev_parent") ? ["create"] : [];
}
