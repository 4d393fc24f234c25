/** Keeps the focus of a keyboard where it was while parts of the page are replaced. */

const FOCUSABLE = "a[href], button, input, select, summary, [tabindex]";

function nameOf(one) {
    return one.getAttribute("aria-label") ?? one.textContent;
}

/**
 * Do what may take the element with the focus away from `within`.
 *
 * The focus goes to what has the same name afterwards, otherwise to what `fallback` returns.
 */
export function keepFocus(within, change, fallback) {
    const focused = document.activeElement;
    if (!within.contains(focused)) {
        change();
        return;
    }
    const name = nameOf(focused);
    change();
    const found = [focused, ...within.querySelectorAll(FOCUSABLE)].find(
        one => one.isConnected && (one === focused || nameOf(one) === name) && one.checkVisibility());
    const next = found ?? fallback();
    if (next !== document.activeElement)
        next.focus();
}
