#!/usr/bin/env bash
# Installs the packages that build.sh has built in a Debian of their own, as root, and checks them:
# what installing, upgrading, removing and purging leaves, then debian/tests by autopkgtest.
#   check.sh CACHE PACKAGES
# Exit status: 0 all is well, 77 Debian's packages cannot be had here (said why), 1 anything else.
set -euo pipefail
cache=$1
packages=$(cd "$2" && pwd)
suite=trixie
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
# What packages and tests need, so that nothing is fetched later.
needed=(python3-click python3-lxml python3-msgspec python3-pyudev python3-jeepney python3-h11
	python3-prometheus-client cockpit-bridge systemd udev pci.ids
	apparmor mdevctl man-db mandoc bash-completion zsh fish
	autopkgtest python3-hypothesis python3-pyfakefs python3-pytest python3-pytest-xdist python3-varlink)
. "$here/stages.sh"

checked_root() {
	debian checked-root "${needed[@]}"
}

begin "$cache"
stage checked_root "$suite" "$mirror" "${needed[@]}"
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$repository/debian/changelog")
rm -rf check
mkdir check
cp "$packages"/*_"$version"_all.deb check
cp -r "$here/lifecycle" check
say "install, upgrade, remove, purge"
"$here/in-root.sh" --discard --bind "$PWD/check" checked-root bash /srv/lifecycle "$version"
say "autopkgtest"
cp "$packages/nodedevd_$version".{dsc,tar.*} check
"$here/in-root.sh" --discard --bind "$PWD/check" checked-root sh -ec "
	dpkg -i /srv/*.deb
	autopkgtest --no-built-binaries /srv/nodedevd_$version.dsc -- null"
say "all is well"
