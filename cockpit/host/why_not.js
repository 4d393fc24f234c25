/** Why no vGPU of a type can be created on a card, and what to do. */

import { _, format } from "../page/words.js";

/** Return the reason of a card of Fits or Types as a sentence, "" if there is room. */
export function whyNot(card) {
    const others = card.others.join(", ");
    switch (card.reason) {
    case null: return "";
    case "not-offered": return _("the card has no such type");
    case "not-listed":
        return others
            ? format(_("not listed beside $0"), others)
            : _("the driver does not list it");
    case "other-profile-active": return format(_("$0 active"), others);
    case "full": return _("full");
    case "mdev-removing":
        return _("an mdev that is being created or removed takes the capacity; `nodedevctl in-use` shows who has it open");
    case "no-gpu-instance":
        return _("no GPU instance of its profile is free; `nvidia-smi mig -lgi` lists them");
    case "none-available": return _("the driver reports none available");
    case "unknown": return _("the available count cannot be read");
    case "no-vf-enabled": return _("no virtual function is enabled");
    case "vfs-on-other-driver":
        return format(_("its virtual functions are bound to $0, which cannot make vGPUs of them; bind them to nvidia"), card.driver);
    case "vfs-without-driver":
        return _("its virtual functions are bound to no driver; bind them to nvidia");
    case "vfs-without-interface":
        return _("its virtual functions have neither mdev types nor vendor VFIO; check that the services nvidia-vgpud and nvidia-vgpu-mgr run, and that the host driver supports the card");
    case "no-types": return _("it is an mdev parent without types; see `dmesg` for its driver");
    case "none-creatable":
        return _("its driver lists no type, although the card is idle; a card in MIG mode needs GPU instances: `nvidia-smi mig -lgi`");
    default: return card.reason;
    }
}
