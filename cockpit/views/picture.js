/** The picture of the host, as the daemon draws it. */

import { element } from "../page/element.js";
import { whenQuiet } from "../page/later.js";
import { showDevice } from "../page/links.js";
import { isDark } from "../page/theme.js";
import { _ } from "../page/words.js";
import { call } from "../varlink/calls.js";
import { Refused } from "../varlink/errors.js";
import { section } from "./section.js";
import { sanitised } from "./svg.js";

const QUIET_MS = 100;
const AT_MOST_EVERY_MS = 1000;
const NARROWEST = 320;
const WIDEST = 1300;
const STEP = 20;

export class PictureView {
    #target;
    #frame = element("div", { class: "picture" });
    #width = 0;
    #last = 0;
    #stale = true;
    #svg = null;
    #refresh = whenQuiet(() => this.#draw(), QUIET_MS, AT_MOST_EVERY_MS);
    element = section("picture", _("Picture"), { body: [this.#frame] });

    constructor(target) {
        this.#target = target;
        new ResizeObserver(() => {
            const width = this.#fitting();
            if (width && (this.#stale || width !== this.#width))
                this.soon();
        }).observe(this.#frame);
        this.#frame.addEventListener("click", event => {
            const name = event.target.closest("[data-device]")?.dataset.device;
            if (name)
                showDevice(name);
        });
    }

    /** Draw anew, soon. */
    soon() {
        this.#stale = true;
        this.#refresh();
    }

    /** Show the colours of a dark or a light page, whatever the system prefers. */
    changeTheme() {
        const svg = this.#frame.querySelector("svg");
        svg?.classList.toggle("nd-dark", isDark());
        svg?.classList.toggle("nd-light", !isDark());
    }

    #fitting() {
        const width = Math.floor(this.#frame.clientWidth / STEP) * STEP;
        return width && Math.min(WIDEST, Math.max(NARROWEST, width));
    }

    async #draw() {
        const wait = this.#last + AT_MOST_EVERY_MS - performance.now();
        if (wait > 0)
            await new Promise(resolve => setTimeout(resolve, wait));
        const width = this.#fitting();
        if (!width)
            return; // hidden; it is drawn when it is shown
        this.#last = performance.now();
        this.#stale = false;
        try {
            const { svg } = await call(this.#target, "org.nodedevd.Devices.Draw", { width, embedded: true });
            this.#width = width;
            if (svg === this.#svg)
                return; // a user may be reading it, or have selected text of it
            this.#frame.replaceChildren(sanitised(svg));
            this.#svg = svg;
            this.changeTheme();
        } catch (error) {
            this.#svg = null;
            if (error instanceof Refused && error.name === "MethodNotFound")
                this.#frame.replaceChildren(element("p", { class: "quiet" }, _("This nodedevd draws no pictures; update it.")));
            else if (!(error instanceof Refused) && error.kind)
                return; // the connection has gone, and the page says so
            else
                this.#frame.replaceChildren(element("p", { class: "quiet" }, _("The picture could not be drawn.")));
        }
    }
}
