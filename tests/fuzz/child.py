"""One target under atheris, as a process of its own: libFuzzer ends the process that it runs in.

python -m tests.fuzz.child TARGET ARGUMENT… of libFuzzer
"""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Run a target until libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["nodedevd"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
