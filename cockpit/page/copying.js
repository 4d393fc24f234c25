/** Text to be copied: commands and XML. */

import { element } from "./element.js";
import { _ } from "./words.js";

/** Return a button that copies a text; `what` names it for a screen reader. */
export function copyButton(text, what) {
    const button = element("button", {
        type: "button", class: "button secondary small", "aria-label": what,
        onclick: async () => {
            try {
                await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
                button.textContent = _("Copied");
            } catch {
                button.textContent = _("Not copied"); // an insecure connection has no clipboard
            }
        },
        onblur: () => { button.textContent = _("Copy") },
    }, _("Copy"));
    return button;
}

/** Return commands for a shell, with a button that copies them. */
export function commands(lines) {
    const text = lines.join("\n");
    return element("div", { class: "commands" },
        element("pre", { tabindex: "0", role: "group", "aria-label": _("Commands") }, text),
        copyButton(text, _("Copy the commands")));
}
