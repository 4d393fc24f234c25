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

. "$here/stages.sh"

root() {
	debian root build-essential fakeroot lintian
	mkdir -p root/srv/source
	cp -rL "$repository/debian" root/srv/source/debian
	install_in root /srv/source
	rm -rf root/srv/source
}

mkdir -p "$output"
output=$(cd "$output" && pwd)
begin "$cache"
stage root "$suite" "$mirror" "$(sed -n '/^Build-Depends/,/^$/p' "$repository/debian/control")"
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
	sh -c 'cd /srv && lintian --allow-root --fail-on error,warning --tag-display-limit 0 --info --display-info ./*.changes' > lintian.log 2>&1 ||
	{ cat lintian.log; exit 1; }
cp build/*.deb build/*.dsc build/*.tar.* build/*.changes build/*.buildinfo lintian.log "$output"
say "built:"
(cd "$output" && ls -l ./*"$version"*.deb)
