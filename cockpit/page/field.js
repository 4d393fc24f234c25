/** Fields of forms. */

import { element, newId } from "./element.js";

/** Return a label with its control. */
export function field(label, control, help = null) {
    control.id ||= newId("field");
    const about = help && element("p", { class: "help", id: `${control.id}-help` }, help);
    if (about)
        control.setAttribute("aria-describedby", about.id);
    return element("div", { class: "field" },
        element("label", { for: control.id }, label), control, about);
}
