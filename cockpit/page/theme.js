/** Follows Cockpit's choice of a dark or light page. */

/**
 * Set the class of the document now, and whenever Cockpit or the system changes its choice; then
 * call `changed`.
 */
export function followTheme(changed) {
    const system = window.matchMedia("(prefers-color-scheme: dark)");

    function apply() {
        const chosen = localStorage.getItem("shell:style") || "auto";
        const dark = chosen === "dark" || (chosen === "auto" && system.matches);
        document.documentElement.classList.toggle("dark", dark);
        changed();
    }

    window.addEventListener("storage", event => event.key === "shell:style" && apply());
    window.addEventListener("cockpit-style", apply);
    system.addEventListener("change", apply);
    apply();
}

/** Return whether the page is dark now. */
export function isDark() {
    return document.documentElement.classList.contains("dark");
}
