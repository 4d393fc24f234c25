import { printable, printableLines } from "./printable.js";

/**
 * Make an HTML element.
 *
 * Attributes whose names begin with "on" are listeners; false and null leave an attribute out.
 * Strings among the children become text, never markup, and are made printable.
 */
export function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false)
            continue;
        if (name.startsWith("on"))
            made.addEventListener(name.slice(2), value);
        else
            made.setAttribute(name, value === true ? "" : value);
    }
    const shown = tag === "pre" ? printableLines : printable;
    made.append(...children.flat().filter(child => child !== null && child !== undefined)
            .map(child => typeof child === "string" ? shown(child) : child));
    return made;
}

let last = 0;

/** Return an id that no other element of the page has. */
export function newId(word) {
    return `${word}-${++last}`;
}
