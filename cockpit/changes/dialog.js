/** A dialog that shows the plan of a change before it is made, and why it is refused. */

import { alert } from "../page/alert.js";
import { element, newId } from "../page/element.js";
import { whenQuiet } from "../page/later.js";
import { _ } from "../page/words.js";
import { explain } from "./refusals.js";

const PLAN_AFTER_MS = 250;

/**
 * Open a dialog.
 *
 * Args: `title`; `about`, a sentence or null; `fields`, elements; `parameters()` of the change, or
 * null while they are incomplete; `asPlanned(parameters, plan)`, what they become once the plan,
 * steps as data, is shown; `method` of the service; `label` of the button that does it; `danger`
 * whether it takes something away; `done(answer)` after success.
 */
export function openDialog(service, {
    title, about, fields, parameters, asPlanned = one => one, method, label, danger, done,
}) {
    const heading = newId("dialog-title");
    const opener = document.activeElement;
    const force = element("input", { type: "checkbox", id: newId("force") });
    const forcing = element("div", { class: "check", hidden: true },
        force,
        element("label", { for: force.id }, _("Force: change also what is in use, or belongs to others")));
    const plan = element("div", { class: "plan", role: "status" });
    const refusal = element("div", { role: "alert" });
    const act = element("button", {
        type: "submit", class: `button ${danger ? "danger" : "primary"}`, disabled: true,
    }, label);
    const cancel = element("button", {
        type: "button", class: "button link", onclick: () => dialog.close(),
    }, _("Cancel"));
    const form = element("form", { onsubmit: submit },
        element("h2", { id: heading }, title),
        about ? element("p", {}, about) : null,
        fields, forcing, plan, refusal,
        element("div", { class: "dialog-buttons" }, act, cancel));
    const dialog = element("dialog", { class: "dialog", "aria-labelledby": heading, onclose: leave }, form);
    let planned = 0; // the number of the newest plan: an older answer comes to nothing
    let shown = []; // the steps of the plan, as data
    let changing = false;

    const replan = whenQuiet(showPlan, PLAN_AFTER_MS);
    form.addEventListener("input", invalidate);
    dialog.addEventListener("cancel", event => changing && event.preventDefault());

    function given() {
        const found = parameters();
        return found && (force.checked ? { ...found, force: true } : found);
    }

    function invalidate() {
        planned++;
        act.disabled = true;
        plan.replaceChildren(element("p", { class: "quiet" }, _("Planning …")));
        replan();
    }

    async function showPlan() {
        const number = ++planned;
        const asked = given();
        if (!asked) {
            refusal.replaceChildren();
            plan.replaceChildren(element("p", { class: "quiet" }, _("Fill in the fields to see the plan.")));
            return;
        }
        try {
            const answer = await service.plan(method, asked);
            if (number !== planned || changing)
                return;
            refusal.replaceChildren();
            plan.replaceChildren(...planText(answer));
            shown = answer.plan;
            act.disabled = false;
        } catch (error) {
            if (number === planned && !changing)
                refuse(error);
        }
    }

    function refuse(error) {
        const { text, undone, left, advice, forceable } = explain(error);
        plan.replaceChildren();
        forcing.hidden = !forceable && !force.checked;
        refusal.replaceChildren(alert("danger", text,
            undone.length ? [element("p", {}, _("Undone:")), steps("ul", undone)] : [],
            left.length ? [element("p", {}, _("Not undone:")), steps("ul", left)] : [],
            advice ? element("p", {}, advice) : null,
            element("button", { type: "button", class: "button link small", onclick: again }, _("Plan again"))));
    }

    function again() {
        refusal.replaceChildren();
        invalidate();
        cancel.focus(); // the button that had the focus is gone
    }

    async function submit(event) {
        event.preventDefault();
        if (act.disabled)
            return;
        changing = true;
        act.disabled = cancel.disabled = true;
        dialog.setAttribute("aria-busy", "true");
        act.textContent = _("In progress …");
        try {
            const answer = await service.change(method, asPlanned(given(), shown));
            changing = false;
            dialog.close();
            done(answer);
        } catch (error) {
            refuse(error);
        } finally {
            changing = false;
            cancel.disabled = false;
            dialog.removeAttribute("aria-busy");
            act.textContent = label;
        }
    }

    function leave() {
        if (changing) {
            dialog.showModal(); // a browser lets a page prevent one Escape, not the next
            return;
        }
        planned++;
        dialog.remove();
        const back = opener?.isConnected ? opener : document.querySelector("h1");
        back.focus();
    }

    document.body.append(dialog);
    dialog.showModal();
    invalidate();
}

function planText({ steps: found, notes }) {
    const text = found.length
        ? [element("p", {}, _("These steps will be taken:")), steps("ol", found)]
        : [element("p", {}, _("Nothing to do: it is so already."))];
    return notes.length ? [...text, alert("info", null, steps("ul", notes))] : text;
}

function steps(list, texts) {
    return element(list, { class: "steps" }, texts.map(text => element("li", {}, text)));
}
