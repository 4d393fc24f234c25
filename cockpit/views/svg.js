/** Takes from an SVG what can be drawn, and nothing that could do anything. */

const SVG = "http://www.w3.org/2000/svg";
const ELEMENTS = new Set([
    "svg", "g", "title", "desc", "defs", "pattern", "clipPath", "rect", "line", "path", "circle", "polygon",
    "polyline", "text", "tspan",
]);
const ATTRIBUTES = new Set([
    "class", "id", "role", "viewBox", "width", "height", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "cx", "cy",
    "r", "rx", "ry", "d", "points", "transform", "fill", "stroke", "stroke-width", "stroke-dasharray",
    "text-anchor", "font-size", "font-weight", "patternUnits", "patternTransform", "clip-path", "opacity",
    "fill-opacity", "data-device", "preserveAspectRatio",
]);
const OWN_REFERENCE = /^url\(#nd-[\w-]+\)$/;
const OWN_NAME = /^nd[\w-]*$/;

/** Return an SVG element made of a text; throw if the text is no SVG. */
export function sanitised(text) {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (parsed.namespaceURI !== SVG || parsed.localName !== "svg")
        throw new TypeError("no SVG");
    return copied(parsed);
}

/** Return whether a value refers to nothing but the picture, and takes no name of the page's. */
function harmless(name, value) {
    if (name === "id" || name === "class")
        return value.split(/\s+/).every(word => OWN_NAME.test(word));
    return !/url\s*\(/i.test(value) || OWN_REFERENCE.test(value);
}

function copied(from) {
    const made = document.createElementNS(SVG, from.localName);
    for (const { name, value } of from.attributes) {
        if ((ATTRIBUTES.has(name) || name.startsWith("aria-")) && harmless(name, value))
            made.setAttribute(name, value);
    }
    for (const child of from.childNodes) {
        if (child.nodeType === Node.TEXT_NODE)
            made.append(child.data);
        else if (child.nodeType === Node.ELEMENT_NODE && child.namespaceURI === SVG && ELEMENTS.has(child.localName))
            made.append(copied(child));
    }
    return made;
}
