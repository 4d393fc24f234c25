/** The frame of a part of the page. */

import { element, newId } from "../page/element.js";

/** Return a section with a heading, elements beside it, and a body. */
export function section(id, title, { beside = [], body = [] } = {}) {
    const heading = newId("heading");
    return element("section", { class: "card", id, "aria-labelledby": heading },
        element("div", { class: "card-head" }, element("h2", { id: heading }, title), beside),
        element("div", { class: "card-body" }, body));
}
