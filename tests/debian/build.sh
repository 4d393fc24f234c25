#!/usr/bin/env bash
# Builds Debian's packages of this tree in a Debian of their own, as root.
#   build.sh CACHE OUTPUT
# CACHE keeps that Debian, which has what debian/control needs and lintian; OUTPUT gets the packages,
# the source, and logs. The build runs in a copy that is discarded.
# Exit status: 0 built, 77 Debian's packages cannot be had here (said why), 1 anything else.
set -euo pipefail
cache=$1
output=$2
suite=trixie
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }
unavailable() { # what else there is to say comes on stdin
	printf '\n%s\n' "The packages cannot be built here: $*"
	cat
	exit 77
}
stage() { # NAME INPUT…: runs the function NAME, unless it has run with this input
	local key
	key=$(printf '%s\n' "$@" "$(declare -f "$1")" | sha256sum)
	[ "$key" != "$(cat "$1.stamp" 2>/dev/null)" ] || return 0
	rm -f "$1.stamp"
	"$1"
	echo "$key" > "$1.stamp"
}

root() {
	say "debootstrap $suite: a Debian to build in"
	rm -rf root
	debootstrap --variant=buildd "$suite" root "$mirror" > debootstrap.log 2>&1 ||
		tail -n 5 debootstrap.log | unavailable "debootstrap from $mirror failed (another mirror: DEBIAN_MIRROR=…)"
	# Nothing is started in there, and what is not needed is not installed.
	printf '#!/bin/sh\nexit 101\n' > root/usr/sbin/policy-rc.d
	chmod 755 root/usr/sbin/policy-rc.d
	echo 'APT::Install-Recommends "false";' > root/etc/apt/apt.conf.d/90recommends
	echo 'APT::Install-Suggests "false";' >> root/etc/apt/apt.conf.d/90recommends
}

dependencies() {
	say "installing what debian/control needs, and lintian"
	cp /etc/resolv.conf root/etc/resolv.conf
	mkdir -p root/srv/source
	rm -rf root/srv/source/debian
	cp -rL "$repository/debian" root/srv/source/debian
	# shellcheck disable=SC2016 # of the shell in the chroot
	"$here/in-root.sh" root sh -ec 'export DEBIAN_FRONTEND=noninteractive
		apt-get -q update
		apt-get -qy build-dep /srv/source
		apt-get -qy install lintian mandoc man-db fakeroot
		apt-get clean' > apt.log 2>&1 ||
		tail -n 5 apt.log | unavailable "apt-get in the Debian to build in failed"
	rm -rf root/srv/source
}

[ "$(id -u)" = 0 ] || unavailable "this takes root (or sudo without a password)" < /dev/null
command -v debootstrap > /dev/null || unavailable "apt-get install debootstrap" < /dev/null
mkdir -p "$cache" "$output"
output=$(cd "$output" && pwd)
cd "$cache"
exec 9> lock
flock 9
stage root "$suite" "$mirror"
stage dependencies "$(cat root.stamp)" "$(sed -n '/^Build-Depends/,/^$/p' "$repository/debian/control")"
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$repository/debian/changelog")
say "building nodedevd $version"
rm -rf build
mkdir -p "build/nodedevd-$version"
git -C "$repository" -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
	(cd "$repository" && xargs -0 sh -c 'for one; do [ ! -e "$one" ] || printf "%s\0" "$one"; done' sh) |
	tar -C "$repository" --null -T - -c | tar -x --no-same-owner -C "build/nodedevd-$version"
# The build sees a copy of the root, and what it changes there is discarded.
"$here/in-root.sh" --discard --bind "$PWD/build" root sh -ec "cd /srv/nodedevd-$version
	export DEB_BUILD_OPTIONS=\${DEB_BUILD_OPTIONS-}
	dpkg-buildpackage -us -uc" > build.log 2>&1 ||
	{ tail -n 30 build.log; exit 1; }
say "lintian"
"$here/in-root.sh" --discard --bind "$PWD/build" root \
	sh -c 'cd /srv && lintian --allow-root --no-tag-display-limit --info --display-info ./*.changes' > lintian.log 2>&1 ||
	{ cat lintian.log; exit 1; }
cp build/*.deb build/*.dsc build/*.tar.* build/*.changes build/*.buildinfo lintian.log "$output"
say "built:"
(cd "$output" && ls -l ./*"$version"*.deb)
