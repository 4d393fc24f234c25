/** The page: wires its parts together. */

import { openConfirm } from "./changes/confirm.js";
import { openCreate } from "./changes/create.js";
import { explain } from "./changes/refusals.js";
import { ControlService } from "./changes/service.js";
import { Devices } from "./host/devices.js";
import { HostWatch } from "./host/watch.js";
import { alert } from "./page/alert.js";
import { element } from "./page/element.js";
import { keepFocus } from "./page/focus.js";
import { whileSeen } from "./page/later.js";
import { followTheme } from "./page/theme.js";
import { _ } from "./page/words.js";
import { call } from "./varlink/calls.js";
import { ConnectionView } from "./views/connection.js";
import { DetailsView } from "./views/details.js";
import { FindingsView } from "./views/findings.js";
import { OverviewView } from "./views/overview.js";

const cockpit = window.cockpit;
const LOOK_AGAIN_MS = 30 * 1000;

function start() {
    // The manifest has the defaults; /etc/cockpit/nodedevd.override.json may have others.
    const { socket, control, command } = cockpit.manifests.nodedevd;
    const main = document.getElementById("page");
    const messages = element("div", { class: "messages", role: "status" });
    const host = { socket, command, sysroot: null };
    const devices = new Devices();
    const connection = new ConnectionView();
    const findings = new FindingsView(host);
    let details = null;
    let opening = false;

    const app = {
        devices, connection, findings, act, target: { path: socket },
        service: new ControlService(control, allowChanges),
    };
    const overview = new OverviewView(app);
    const watch = new HostWatch(app.target, devices, showConnection);

    function allowChanges() {
        overview.allowChanges(app.service.available);
        details?.draw();
    }

    async function showConnection() {
        document.body.dataset.state = watch.state;
        connection.show(watch, devices, socket);
        overview.show(watch.since !== null);
        if (watch.state !== "ready")
            return;
        app.service.look();
        details?.draw();
        try {
            const status = await call(app.target, "org.nodedevd.Devices.GetStatus");
            host.sysroot = status.sysroot;
            findings.examine();
        } catch {
            // The connection has gone again, which its end tells.
        }
    }

    function showPage() {
        const [kind, name] = cockpit.location.path;
        const first = !main.hasChildNodes();
        details = kind === "device" && name ? new DetailsView(app, name) : null;
        const page = details ?? overview;
        page.element.querySelector(".page-head").after(connection.message, messages);
        main.replaceChildren(page.element);
        details?.draw();
        if (!first)
            page.focus();
    }

    function say(level, text) {
        const close = element("button", {
            type: "button", class: "button link small",
            onclick: () => keepFocus(messages, () => shown.remove(), () => main.querySelector("h1")),
        }, _("Close"));
        const shown = alert(level, text, close);
        messages.replaceChildren(shown);
    }

    async function act(action, device, type = null) {
        if (opening)
            return; // a dialog asks the services before it opens
        opening = true;
        try {
            if (action === "create") {
                await openCreate(app.service, app.target, {
                    place: device?.name ?? null, type,
                    done: text => say("success", text),
                    failed: error => say("danger", explain(error).text),
                });
            } else {
                await openConfirm(app.service, action, device, text => say("success", text));
            }
        } finally {
            opening = false;
        }
    }

    devices.onChange(changes => {
        overview.change(changes);
        details?.draw();
        connection.show(watch, devices, socket);
        if (changes.length)
            findings.soon();
    });
    findings.onChange(() => details?.draw());
    cockpit.addEventListener("locationchanged", showPage);
    whileSeen(() => watch.state === "ready" && (details ?? overview).lookAgain(), LOOK_AGAIN_MS);
    // Its socket may have been enabled meanwhile.
    window.addEventListener("focus", () => app.service.look());
    showPage();
    watch.start();
    return overview;
}

document.documentElement.lang = (cockpit.language || "en").replace("_", "-");
cockpit.translate();
const overview = start();
followTheme(() => overview.changeTheme());
