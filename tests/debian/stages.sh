# Shared by build.sh and check.sh: a Debian in a directory, made once for each input. Sourced.

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

begin() { # CACHE: works in there, alone
	[ "$(id -u)" = 0 ] || unavailable "this takes root (or sudo without a password)" < /dev/null
	command -v debootstrap > /dev/null || unavailable "apt-get install debootstrap" < /dev/null
	mkdir -p "$1"
	cd "$1"
	exec 9> lock
	flock 9
}

debian() { # ROOT PACKAGE…: a Debian with these packages, where nothing is started
	local root=$1
	shift
	say "debootstrap $suite: $root"
	rm -rf "$root"
	debootstrap --variant=minbase "$suite" "$root" "$mirror" > debootstrap.log 2>&1 ||
		tail -n 5 debootstrap.log | unavailable "debootstrap from $mirror failed (another mirror: DEBIAN_MIRROR=…)"
	printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	printf 'APT::Install-%s "false";\n' Recommends Suggests > "$root/etc/apt/apt.conf.d/90-only-what-is-named"
	install_in "$root" "$@"
}

install_in() { # ROOT ARGUMENT…: of apt-get install; an argument with a / is a source, for build-dep
	local root=$1 command=install
	shift
	[[ $1 != */* ]] || command=build-dep
	say "installing in $root: $*"
	cp /etc/resolv.conf "$root/etc/resolv.conf"
	"$here/in-root.sh" "$root" sh -ec "export DEBIAN_FRONTEND=noninteractive
		apt-get -q update
		apt-get -qy $command $*
		apt-get clean" > apt.log 2>&1 ||
		tail -n 5 apt.log | unavailable "apt-get in $root failed"
}
