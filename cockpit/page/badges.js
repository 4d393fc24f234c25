/** Words in a frame: capabilities, states, severities. Colour only repeats what a word says. */

import { element } from "./element.js";
import { _ } from "./words.js";

/** Return a device's state as a badge. */
export function stateBadge(state) {
    const words = { active: _("active"), inactive: _("defined"), removing: _("being removed") };
    const level = { active: "success", inactive: "neutral", removing: "warning" }[state] ?? "neutral";
    return badge(words[state] ?? state, level);
}

/** Return a word in a frame; `level` is success, info, warning, danger or neutral. */
export function badge(word, level = "neutral") {
    return element("span", { class: `badge ${level}` }, word);
}

/** Return a finding's severity as a badge. */
export function severityBadge(severity) {
    const words = { problem: _("✖ Problem"), warning: _("▲ Warning"), note: _("● Note") };
    const level = { problem: "danger", warning: "warning", note: "neutral" }[severity] ?? "neutral";
    return badge(words[severity] ?? severity, level);
}
