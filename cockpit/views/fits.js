/** "Where does it fit": the cards with room for vGPUs of a type, and why the others have none. */

import { sentence } from "../changes/refusals.js";
import { capability, productName } from "../host/describe.js";
import { whyNot } from "../host/why_not.js";
import { badge } from "../page/badges.js";
import { element, newId } from "../page/element.js";
import { keepFocus } from "../page/focus.js";
import { whenQuiet } from "../page/later.js";
import { deviceLink } from "../page/links.js";
import { _, format } from "../page/words.js";
import { call } from "../varlink/calls.js";
import { Refused } from "../varlink/errors.js";
import { section } from "./section.js";

const QUIET_MS = 500;
const SHOWN = 50;

export class FitsView {
    #target;
    #devices;
    #act;
    #canChange = false;
    #asked = null;
    #number = 0;
    #options = element("datalist", { id: newId("types") });
    #type = element("input", {
        type: "text", id: newId("type"), list: this.#options.id, required: true, spellcheck: "false",
        autocomplete: "off",
    });
    #count = element("input", { type: "number", id: newId("count"), min: "1", max: "1024", value: "1", required: true });
    #found = []; // the cards of the last answer
    #items = new Map(); // text of a card → its element
    #most = SHOWN;
    #said = "";
    #verdict = element("div", { role: "status" });
    #list = element("ul", { class: "card-list" });
    #more = element("button", {
        type: "button", class: "button link", hidden: true, onclick: () => this.#showAll(),
    });
    #answer = element("div", { class: "answer" }, this.#verdict, this.#list, this.#more);
    #refresh = whenQuiet(() => this.#update(), QUIET_MS);
    element;

    /** `act("create", device, type)` is called for the button of a card. */
    constructor(target, devices, act) {
        this.#target = target;
        this.#act = act;
        this.#devices = devices;
        const form = element("form", {
            class: "toolbar",
            onsubmit: event => {
                event.preventDefault();
                this.#asked = { type: this.#type.value.trim(), count: Number(this.#count.value) };
                this.#most = SHOWN;
                this.#ask();
            },
        },
        element("div", { class: "field" }, element("label", { for: this.#type.id }, _("Type of vGPU")), this.#type, this.#options),
        element("div", { class: "field short" }, element("label", { for: this.#count.id }, _("Number")), this.#count),
        element("button", { type: "submit", class: "button secondary" }, _("Find cards")));
        this.element = section("fits", _("Where does it fit?"), { body: [form, this.#answer] });
    }

    /** Show or hide the buttons of cards. */
    allowChanges(allowed) {
        this.#canChange = allowed;
        if (this.#asked)
            this.#ask();
    }

    /** Ask again, and for the types on offer, once nothing has changed for a while. */
    soon() {
        this.#refresh();
    }

    async #update() {
        try {
            const { types } = await call(this.#target, "org.nodedevd.Devices.Types");
            const names = new Set(types.filter(one => one.type !== null).map(one => one.type_name ?? one.type));
            this.#options.replaceChildren(...[...names].sort().map(name => element("option", { value: name })));
            if (!this.#asked)
                this.#say(names.size ? "" : _("No card of this host offers types of vGPUs."));
        } catch {
            return; // the connection has gone, and the page says so
        }
        if (this.#asked)
            await this.#ask();
    }

    async #ask() {
        const number = ++this.#number;
        let found;
        try {
            found = await call(this.#target, "org.nodedevd.Devices.Fits", this.#asked);
        } catch (error) {
            if (!(error instanceof Refused))
                return;
            found = { refusal: sentence(error), cards: [] };
        }
        if (number !== this.#number)
            return;
        this.#say(...found.refusal ? [found.refusal] : this.#verdictOf(found));
        this.#found = found.cards;
        keepFocus(this.#answer, () => this.#draw(), () => this.#type);
    }

    /** Show the verdict, unless it is the same: a screen reader would read it again. */
    #say(...parts) {
        const text = parts.map(one => one.textContent ?? one).join("");
        if (this.#said === text)
            return;
        this.#said = text;
        this.#verdict.replaceChildren(element("p", { class: "verdict" }, ...parts));
    }

    #verdictOf({ answer, count }) {
        const words = {
            yes: _("Yes: $0 × $1 fit."), perhaps: _("Perhaps: $0 × $1 may fit, but not for sure."),
            no: _("No: $0 × $1 do not fit."),
        };
        const mark = badge({ yes: _("yes"), perhaps: _("perhaps"), no: _("no") }[answer],
            { yes: "success", perhaps: "warning", no: "danger" }[answer]);
        return [mark, " ", format(words[answer], count, this.#asked.type)];
    }

    /** Show the cards; those of which nothing has changed keep their elements. */
    #draw() {
        const before = this.#items;
        this.#items = new Map(this.#found.slice(0, this.#most).map(card => {
            const key = JSON.stringify([card, this.#product(card.card), this.#mayCreate(card)]);
            return [key, before.get(key) ?? this.#card(card)];
        }));
        const rest = this.#found.length - this.#items.size;
        this.#more.hidden = rest <= 0;
        if (rest > 0)
            this.#more.textContent = format(_("Show $0 more"), rest);
        const shown = [...this.#items.values()];
        this.#list.hidden = !shown.length;
        if (shown.length !== this.#list.children.length || shown.some((one, at) => one !== this.#list.children[at]))
            this.#list.replaceChildren(...shown);
    }

    #showAll() {
        const shown = this.#items.size;
        this.#most = Infinity;
        this.#draw();
        [...this.#items.values()][shown].querySelector("a").focus();
    }

    #card(card) {
        return element("li", {},
            element("div", {}, deviceLink(card.card), " ", element("span", { class: "quiet" }, this.#product(card.card))),
            element("div", {}, this.#room(card)), this.#button(card));
    }

    #product(name) {
        const device = this.#devices.get(name);
        return device ? productName(capability(device, "pci")?.product?.name) : "";
    }

    #mayCreate(card) {
        return this.#canChange && card.reason === null && this.#devices.get(card.card) !== undefined;
    }

    #button(card) {
        if (!this.#mayCreate(card))
            return null;
        return element("button", {
            type: "button", class: "button secondary small", "aria-label": `${_("Create vGPU")}, ${card.card}`,
            onclick: () => this.#act("create", this.#devices.get(card.card), card.type),
        }, _("Create vGPU"));
    }

    #room(card) {
        if (card.reason !== null)
            return format(_("No room: $0"), whyNot(card));
        const free = card.functions.filter(one => one.available).map(one => one.name);
        const most = card.available === null
            ? format(_("an unknown number, $0 for sure"), card.sure)
            : card.available === card.sure
                ? String(card.sure)
                : format(_("at most $0, $1 for sure"), card.available, card.sure);
        if (!free.length || (free.length === 1 && free[0] === card.card))
            return format(_("Room for $0"), most);
        return free.length === 1
            ? format(_("Room for $0, on $1"), most, free[0])
            : format(_("Room for $0, on $1 and $2 more functions"), most, free[0], free.length - 1);
    }
}
