# Commands of the project; `make` lists them.

VENV := .venv
BIN := $(VENV)/bin
# By a path, as Python's own modules: the finder that is the default takes 8 ms of every start.
INSTALL_EDITABLE = $(BIN)/pip install -q --disable-pip-version-check --config-settings editable_mode=compat -e
SYSROOT ?= /
ARGS ?=
# One worker for each processor, and one more, since many tests wait; ARGS="-n 0" runs the tests in
# one process. Where pytest may not keep modules with the assertions that it has rewritten, each worker takes five seconds longer.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -W error -n $$(($$(nproc) + 1)) --dist worksteal
# make run ONCE=1 ends by itself, as it does where there is no terminal.
ONCE ?=
# Debian's packages with the tools some tests run.
TEST_PACKAGES := dbus-daemon pciutils pci.ids systemd libvirt-daemon virtinst mdevctl umockdev udev iproute2 \
	libvirt-clients python3-libvirt qemu-system-x86
COCKPIT_PACKAGES := cockpit-ws cockpit-bridge cockpit-system chromium chromium-driver
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$one >/dev/null && $$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && { command -v $$one; break; }; done)
# What is measured is installed as the README says; an editable install takes longer to start.
BENCH := .venv-bench
INSTALL_FOR_BENCH = [ -x $(BENCH)/bin/pip ] || $(VENV)/bin/python -m venv $(BENCH); \
	$(BENCH)/bin/pip install -q --disable-pip-version-check .
# Where `make install` puts nodedevd, and what is looked for in a place of its own.
PREFIX ?= /opt/nodedevd
SHARE := /usr/local/share
PROGRAMS := nodedevd nodedevctl nodedevd-control nodedevd-libvirt-hook nodedevd-metrics nodedevd-publish
UNITS := $(wildcard systemd/*.service systemd/*.socket systemd/*.timer)
# Where an administrator copies libvirt's hook.
HOOK := /etc/libvirt/hooks/qemu.d/50-nodedevd
# The Debians that the VM has, one after the other: bookworm, trixie.
VM_SUITES ?= bookworm
# Where `make deb` keeps the Debian that it builds in, half a gigabyte.
DEB_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nodedevd-deb
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
APT_INSTALL := $(AS_ROOT) true 2>/dev/null && $(AS_ROOT) apt-get update -q && \
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends

.PHONY: help run test test-unit packages vm-test vm-image deb deb-test install uninstall man cockpit-test cockpit-screenshots cockpit-texts lint check bench bench-quick bench-hostile bench-curve bench-fleet fleet-test soak fuzz blocking-client json-reference completion-words format venv clean
.ONESHELL:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: $(VENV)/installed ## start the daemon on this host (or SYSROOT=PATH) and show what it knows
	@directory=$$(mktemp -d)
	export NODEDEVD_SOCKET=$$directory/nodedevd.sock
	$(BIN)/nodedevd --sysroot "$(SYSROOT)" --socket "$$NODEDEVD_SOCKET" & daemon=$$!
	trap 'kill $$daemon 2>/dev/null || true; wait $$daemon || true; rm -rf "$$directory"' EXIT
	# Ctrl-C is the way to end it, no failure. But make complains if this shell is gone when make
	# itself has yet to handle Ctrl-C (proc_pid_status(5): signal 2 is the second bit).
	trap 'while grep -qs "^ShdPnd:.*[2367abef]$$" /proc/$$PPID/status; do sleep 0.01; done; exit 0' INT TERM
	until timeout 60 $(BIN)/nodedevctl status >/dev/null 2>&1; do
		kill -0 $$daemon 2>/dev/null || exit 1
		((SECONDS < 60)) || { echo "the daemon does not answer"; exit 1; }
		sleep 0.1
	done
	show() { printf '\n$$ nodedevctl %s\n' "$$*"; $(BIN)/nodedevctl "$$@"; }
	show status
	show tree
	parents=$$($(BIN)/nodedevctl list --cap mdev_parent)
	show dumpxml "$$(head -n 1 <<<"$${parents:-computer}")"
	[ -n "$$parents" ] || echo "(no mdev parent here; try: make run SYSROOT=fixtures/sysfs/vgpu-sriov.ttar)"
	[ -t 0 ] && [ -t 1 ] && [ -z "$(ONCE)" ] || exit 0
	printf '\nThe daemon goes on until Ctrl-C. In another terminal:\n'
	echo "  export NODEDEVD_SOCKET=$$NODEDEVD_SOCKET"
	echo "  $(CURDIR)/$(BIN)/nodedevctl --help"
	wait $$daemon

test: $(VENV)/installed-test packages ## install what the tests need, and run all of them (ARGS=… for pytest)
	@# Tests run make, which is no part of this one.
	env -u MAKEFLAGS $(PYTEST) $(ARGS)

test-unit: $(VENV)/installed-test ## run the tests that start no process, with fewer cases
	$(PYTEST) --hypothesis-profile=quick -m "not exhaustive and not slow" tests/unit $(ARGS)

packages: ## install Debian's packages with the tools that tests run
	@missing=""
	for package in $(TEST_PACKAGES) $(MORE_PACKAGES); do
		dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing+=" $$package"
	done
	if [ -n "$$missing" ] && ! { $(APT_INSTALL) $$missing; }; then
		echo "not installed:$$missing; the tests that run them are skipped"
	fi

vm-test: $(VENV)/installed-test ## boot a VM with real mdevs, and test in there (QUICK=1, VM_SUITES="bookworm trixie", ARGS=… for pytest)
	@for suite in $(VM_SUITES); do
		$(BIN)/python -m tests.vm.run --suite $$suite $(if $(OPTIONAL),--optional) $(if $(QUICK),--quick) $(ARGS)
	done

# Not at the same time as what else installs packages.
vm-image: $(VENV)/installed-test packages ## build what vm-test boots, and no more
	@for suite in $(VM_SUITES); do
		$(BIN)/python -m tests.vm.run --build --suite $$suite $(if $(OPTIONAL),--optional)
	done

deb: ## build Debian's packages into dist, as root, in a Debian 13 of its own (DEB_CACHE=DIR)
	@$(AS_ROOT) tests/debian/build.sh "$(DEB_CACHE)" dist

deb-test: deb ## install, upgrade and purge these packages, and run autopkgtest, in another Debian 13
	@$(AS_ROOT) tests/debian/check.sh "$(DEB_CACHE)" dist

# The units start what is in /usr/bin.
install: $(PREFIX)/bin/pip ## install nodedevd on this host, as root, in an environment of its own (PREFIX=/opt/nodedevd)
	@$(PREFIX)/bin/pip install -q --disable-pip-version-check '.[fleet,metrics,polkit]'
	ln -sf $(addprefix $(PREFIX)/bin/,$(PROGRAMS)) /usr/bin/
	install -m 644 $(UNITS) -t /etc/systemd/system
	for users in control publish; do
		install -D -m 644 systemd/nodedevd-$$users.sysusers /etc/sysusers.d/nodedevd-$$users.conf
	done
	install -D -m 644 systemd/90-nodedevd-control.rules -t /etc/udev/rules.d
	made=$$(mktemp -d)
	trap 'rm -rf "$$made"' EXIT
	$(PREFIX)/bin/python -m tests.support.man_pages "$$made"
	for section in 1 7 8; do
		install -D -m 644 "$$made"/*.$$section -t $(SHARE)/man/man$$section
	done
	$(PREFIX)/bin/python -m tests.support.completions "$$made"
	install -D -m 644 "$$made/bash/nodedevctl" -t $(SHARE)/bash-completion/completions
	install -D -m 644 "$$made/zsh/_nodedevctl" -t $(SHARE)/zsh/site-functions
	install -D -m 644 "$$made/fish/nodedevctl.fish" -t $(SHARE)/fish/vendor_completions.d
	systemd-sysusers
	[ ! -d /run/systemd/system ] || systemctl daemon-reload
	echo "to start it: systemctl enable --now nodedevd.socket nodedevd.service"

uninstall: ## remove what `make install` has installed; configuration and definitions stay
	@[ ! -d /run/systemd/system ] || systemctl disable -q --now $(notdir $(UNITS))
	# A copy of it fails without the rest, and libvirt would then start no domain.
	! grep -qs nodedevd.hook $(HOOK) || rm -f $(HOOK)
	rm -f $(addprefix /etc/systemd/system/,$(notdir $(UNITS))) $(addprefix /usr/bin/,$(PROGRAMS)) \
		/etc/sysusers.d/nodedevd-{control,publish}.conf /etc/udev/rules.d/90-nodedevd-control.rules \
		$(SHARE)/man/man[178]/{nodedev,org.nodedevd.}* $(SHARE)/bash-completion/completions/nodedevctl \
		$(SHARE)/zsh/site-functions/_nodedevctl $(SHARE)/fish/vendor_completions.d/nodedevctl.fish
	rm -rf $(PREFIX)
	[ ! -d /run/systemd/system ] || systemctl daemon-reload

man: $(VENV)/installed ## make the manual pages from help and documents, in build/man
	@$(BIN)/python -m tests.support.man_pages build/man

cockpit-test: MORE_PACKAGES := $(COCKPIT_PACKAGES)
cockpit-test: $(VENV)/installed-test packages ## test the Cockpit page in a real Cockpit and Chromium (ARGS=… for pytest)
	@# What cannot be had costs its tests, which are listed at the end.
	$(INSTALL_EDITABLE) '.[browser]' || echo "selenium cannot be had"
	$(BIN)/python -m tests.support.axe || true
	env -u MAKEFLAGS NODEDEVD_COCKPIT=1 $(PYTEST) tests/cockpit $(ARGS)

cockpit-screenshots: MORE_PACKAGES := $(COCKPIT_PACKAGES)
cockpit-screenshots: $(VENV)/installed-browser packages ## take the screenshots in docs/cockpit anew
	@$(BIN)/python -m tests.cockpit.screenshots

cockpit-texts: $(VENV)/installed-test ## bring the translations of the Cockpit page up to date
	@$(BIN)/python -m tests.support.cockpit_texts
	$(BIN)/python -m tests.support.cockpit_style

lint: $(VENV)/installed-test ## check format, lint and types
	@$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict nodedevd tests benchmarks

check: lint test bench-quick ## all that CI runs

bench: $(VENV)/installed-test ## compare with libvirtd on large hosts, as root: ten minutes (ARGS=--help)
	@$(INSTALL_FOR_BENCH)
	$(BIN)/python -m benchmarks --nodedevd $(CURDIR)/$(BENCH)/bin/nodedevd $(ARGS)

bench-quick: $(VENV)/installed-test ## show in less than a minute that the comparison works
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench-hostile: $(VENV)/installed-test ## measure what a hostile user can do, as root: two minutes (ARGS=--help)
	@$(BIN)/python -m benchmarks.hostile $(ARGS)

bench-curve: $(VENV)/installed-test ## compare on smaller hosts, and draw how both grow
	@$(INSTALL_FOR_BENCH)
	$(BIN)/python -m benchmarks --nodedevd $(CURDIR)/$(BENCH)/bin/nodedevd --curve --update $(ARGS)

bench-fleet: $(VENV)/installed-test ## measure a fleet of 1,000 simulated hosts over NATS: two minutes (ARGS=--help)
	@$(BIN)/python -m benchmarks.fleet $(ARGS)

# Four at a time: most of them wait. Each prints how long it took until the state was true.
fleet-test: MORE_PACKAGES := nftables
fleet-test: $(VENV)/installed-test packages ## what servers and networks do to a fleet, as root: eight minutes (ARGS=… for pytest)
	@env -u MAKEFLAGS -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -W error -n 4 -rP tests/fleet/faults $(ARGS)

soak: $(VENV)/installed-test ## a million uevents with watchers and hostile clients, as root (ARGS="--uevents 20000")
	@$(BIN)/python -m benchmarks.soak $(ARGS)

fuzz: $(VENV)/installed-fuzz ## fuzz the readers of hostile bytes, with coverage (ARGS="varlink --runs 1000000")
	@nice $(BIN)/python -m tests.fuzz $(ARGS)

blocking-client: $(VENV)/installed-test ## write client/blocking.py from client/asynchronous.py
	@$(BIN)/python -m tests.support.unasync

json-reference: $(VENV)/installed-test ## write the types in docs/json.md from the model
	@$(BIN)/python -m tests.support.json_reference

completion-words: $(VENV)/installed-test ## write cli/completed_words.py from the commands
	@$(BIN)/python -m tests.support.completions

format: $(VENV)/installed-test ## format the code
	@$(BIN)/ruff format
	$(BIN)/ruff check --fix

venv: $(VENV)/installed-test ## make .venv, with all that develops nodedevd
	@echo "to use it: . $(BIN)/activate"

clean: ## remove what these commands made
	@rm -rf $(VENV) $(BENCH) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's and Ubuntu's Python comes without what venv needs, in a package of its own.
$(VENV)/bin/pip $(PREFIX)/bin/pip:
	@if [ -z "$(PYTHON)" ]; then
		echo "no Python >= 3.11 found; install one, or say which: make PYTHON=/path/to/python3"
		exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then
		package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
		echo "$(PYTHON) needs the package $$package"
		if ! { $(APT_INSTALL) $$package; }; then
			echo "install it first, as root: apt-get install $$package"
			exit 1
		fi
	fi
	$(PYTHON) -m venv $(@:/bin/pip=)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/pip
	@$(INSTALL_EDITABLE) .
	touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/pip
	@$(INSTALL_EDITABLE) '.[test,lint]'
	touch $@ $(VENV)/installed

$(VENV)/installed-browser: pyproject.toml | $(VENV)/installed-test
	@$(INSTALL_EDITABLE) '.[browser]'
	touch $@

$(VENV)/installed-fuzz: pyproject.toml | $(VENV)/installed-test
	@$(INSTALL_EDITABLE) '.[fuzz]'
	touch $@
