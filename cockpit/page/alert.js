/** Messages in a coloured frame, with a word for the colour. */

import { element } from "./element.js";
import { _ } from "./words.js";

/** Return a message in a coloured frame; `level` is danger, warning, info or success. */
export function alert(level, text, ...more) {
    const words = {
        danger: _("Error"), warning: _("Warning"), info: _("Note"), success: _("Done"),
    };
    return element("div", { class: `alert ${level}` },
        element("span", { class: "alert-level" }, words[level]),
        element("div", {}, text ? element("p", {}, text) : null, ...more));
}
