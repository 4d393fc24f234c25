/** What a device is, in a few words. */

/** Return the name for people in a brackets of a product's name, otherwise the whole name. */
export function productName(name) {
    return /\[([^\]]+)\]\s*$/.exec(name ?? "")?.[1] ?? name ?? "";
}

const SUMMARIES = {
    system: one => one.product,
    mdev_child: one => one.mdev_type?.type_name ?? one.mdev_type?.type ?? one.definition?.type,
    vgpu: one => one.current?.type_name ?? one.current?.type,
    net: one => one.interface,
    storage: one => [one.block, one.model].filter(Boolean).join(" "),
    usb_device: one => one.product?.name,
    usb: one => one.description,
    scsi: one => [one.vendor, one.model].filter(Boolean).join(" "),
    scsi_generic: one => one.char,
    drm: one => one.minor_type,
    pci: one => one.product?.name ?? one.product?.id,
};

/** Return a few words about a device: its product, interface, type or the like; "" for none. */
export function summaryOf(device) {
    const found = new Map(device.capabilities.map(one => [one.type, one]));
    for (const [type, summary] of Object.entries(SUMMARIES)) {
        const words = found.has(type) && summary(found.get(type));
        if (words)
            return words;
    }
    return "";
}

/** Return a device's capability of a type, undefined if it has none. */
export function capability(device, type) {
    return device.capabilities.find(one => one.type === type);
}

/** Return the text in which a filter looks for words, in lower case. */
export function searchText(device) {
    return [
        device.name, device.sysname, device.path, device.driver, device.devnode, summaryOf(device),
        capability(device, "pci")?.vendor?.name,
        ...device.capabilities.map(one => one.type),
    ].filter(Boolean).join("\n").toLowerCase();
}
