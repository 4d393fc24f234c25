/** Why a change was not made, what is left of it, and what to do next. */

import { Refused, Unreachable } from "../varlink/errors.js";
import { _, format } from "../page/words.js";

const ORIGINS = {
    client: () => _("a client's call"),
    definition: () => _("a start of its definition"),
    domain: () => _("the hook of a domain"),
    layout: () => _("the host's layout"),
};

const SENTENCES = {
    NotAllowed: one => format(_("$0 is not allowed: $1"), one.action, one.reason),
    NoSuchDevice: one => one.nearest?.length
        ? format(_("no device named '$0'; did you mean $1?"), one.name, one.nearest.join(", "))
        : format(_("no device named '$0'"), one.name),
    NoSuchType: one => one.nearest?.length
        ? format(_("no device offers the type '$0'; the nearest are $1"), one.type, one.nearest.join(", "))
        : format(_("no device offers the type '$0' or any other; see `nodedevctl types`"), one.type),
    NotPossible: one => `${one.name}: ${one.detail}`,
    NoRoom: one => format(_("no room for the type '$0': $1"), one.type, one.detail),
    Conflict: one => `${one.name}: ${one.detail}`,
    OwnedByOther: one => one.owner
        ? format(_("$0 belongs to '$1'; give that owner, or use force"), one.name, one.owner)
        : format(_("$0 was made without an owner; give that owner, or use force"), one.name),
    MadeByOther: one => format(
        _("$0 was made by $1; use force to change it in spite of that"), one.name,
        (ORIGINS[one.origin] ?? (() => _("somebody else, not by nodedevd")))()),
    Changed: one => `${one.name}: ${one.detail}`,
    DeviceInUse: one => one.known
        ? format(_("$0 is in use: $1"), one.name, one.detail)
        : format(_("$0 may be in use: $1"), one.name, one.detail),
    CardBusy: one => format(
        _("$0 is being changed for $1 s: $2"), one.card, one.seconds.toFixed(0), one.detail),
    Vetoed: one => format(_("$0 refuses: $1"), one.script, one.detail),
    StepFailed: one => format(_("could not $0: $1"), one.step, one.detail),
    StillWriting: one => format(
        _("the driver has not answered for $0 s: $1; it goes on, and the card takes no other change until it ends"),
        one.seconds.toFixed(0), one.step),
    NotConfirmed: one => format(_("$0 is not confirmed by the tree: $1"), one.action, one.detail),
    InvalidParameter: one => format(_("invalid parameter '$0'"), one.parameter),
    TooManyClients: one => format(
        _("the service has $0 clients already, which is the limit; try again when some have left"),
        one.limit),
    InternalError: () => _("a defect of the service; its journal has the details"),
};

const NEXT = {
    CardBusy: () => _("nodedevctl control shows the change in progress; try again when it has ended"),
    Changed: () => _("nodedevctl control shows whose the device is now"),
    DeviceInUse: () => _("nodedevctl in-use, as root, shows which processes have it open"),
    MadeByOther: () => _("nodedevctl control shows who made which device"),
    NoRoom: () => _("nodedevctl fits shows what each card has room for, and why not"),
    NotConfirmed: () => _("nodedevctl doctor checks this host for problems"),
    OwnedByOther: () => _("nodedevctl control shows whose each device is"),
    StillWriting: () => _("nodedevctl control shows the change until the driver answers"),
};

const FORCEABLE = ["DeviceInUse", "MadeByOther", "OwnedByOther"];

/** Return the sentence about an error that a service has replied with. */
export function sentence(refused) {
    const words = SENTENCES[refused.name];
    return words ? words(refused.parameters) : refused.error;
}

/**
 * Return what there is to say about a failed change: `text`, the steps `undone` and `left`, the
 * `advice` or null, and whether force would get past it, `forceable`.
 */
export function explain(error) {
    if (error instanceof Refused) {
        const { undone = [], left = [] } = error.parameters;
        const advice = left.length
            ? _("nodedevctl control lists what is left, until it is gone")
            : NEXT[error.name]?.() ?? null;
        return {
            text: sentence(error), undone, left, advice,
            forceable: FORCEABLE.includes(error.name),
        };
    }
    const texts = {
        absent: _("The control service does not answer. Enable it: systemctl enable --now nodedevd-control.socket"),
        forbidden: _("You may not change this host. Turn on administrative access."),
        lost: _("The connection to the control service was lost. The change may have been made: see the list of devices, and nodedevctl control."),
    };
    const kind = error instanceof Unreachable ? error.kind : null;
    return {
        text: texts[kind] ?? error.message, undone: [], left: [], advice: null, forceable: false,
    };
}
