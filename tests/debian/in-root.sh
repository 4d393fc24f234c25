#!/usr/bin/env bash
# Runs a command in a directory with a Debian, as root, with mounts that end with the command.
#   in-root.sh [--discard] [--bind DIRECTORY] ROOT COMMAND…
# With --discard, what the command changes is kept in memory and discarded; --bind shows DIRECTORY
# as /srv, and what is changed there stays.
set -euo pipefail
if [ "${IN_ROOT_MOUNTS-}" != 1 ]; then
	IN_ROOT_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
fi
discard= bind=
while :; do
	case $1 in
	--discard) discard=1; shift ;;
	--bind) bind=$2; shift 2 ;;
	*) break ;;
	esac
done
root=$(cd "$1" && pwd)
shift
if [ -n "$discard" ]; then
	changes=$(mktemp -d)
	trap 'umount "$changes" 2>/dev/null; rmdir "$changes"' EXIT
	mount -t tmpfs -o mode=755 tmpfs "$changes"
	mkdir "$changes"/{upper,work,root}
	mount -t overlay -o "lowerdir=$root,upperdir=$changes/upper,workdir=$changes/work" overlay "$changes/root"
	root=$changes/root
fi
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
[ -z "$bind" ] || mount --bind "$bind" "$root/srv"
status=0
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb \
	DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS-}" chroot "$root" "$@" || status=$?
[ -z "$discard" ] || umount -R -l "$root"
exit $status
