/** The findings of nodedevctl doctor. */

const cockpit = window.cockpit;

/** Why there is no report; `missing` says that there is no command. */
export class NoReport extends Error {
    constructor(detail, missing) {
        super(detail);
        this.missing = missing;
    }
}

/** Run the command and return a promise of its report; reject with a NoReport. */
export function examine(command, socket, sysroot) {
    const other = sysroot && sysroot !== "/" ? ["--sysroot", sysroot] : [];
    return new Promise((resolve, reject) => {
        const options = {
            err: "message", superuser: "try", environ: [`NODEDEVD_SOCKET=${socket}`],
        };
        // Its exit status 5 says that there are findings.
        cockpit.spawn([...command, ...other, "doctor", "--json"], options)
                .then(output => finish(output))
                .catch((problem, output) => {
                    if (problem.exit_status === 5)
                        finish(output);
                    else
                        reject(new NoReport(problem.message, problem.problem === "not-found"));
                });

        function finish(output) {
            try {
                resolve(JSON.parse(output));
            } catch (error) {
                reject(new NoReport(error.message, false));
            }
        }
    });
}
