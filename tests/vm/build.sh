#!/usr/bin/env bash
# Builds what the VM boots, as root, in the directory given: a kernel, an initrd, a disk image.
# All of it comes from Debian's packages; a stage runs again when what goes into it has changed.
#   build.sh DIRECTORY SUITE [PACKAGE | FILE.deb]…
# The guest has these packages of Debian's more. With files of packages it has those installed, and
# AppArmor; else nodedevd is in an environment.
# The guest and its kernel are of the suite; what boots it is the host's.
# Exit status: 0 built, 77 the packages cannot be had here (said why), 1 anything else.
set -euo pipefail
directory=$1
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=$2
debs=() more=()
for package in "${@:3}"; do
	case $package in *.deb) debs+=("$package") ;; *) more+=("$package") ;; esac
done
here=$(cd "$(dirname "$0")" && pwd)
# Of the host: what boots the VM.
tools=(qemu-system-x86 kmod busybox-static cpio xz-utils e2fsprogs debootstrap)
# The kernel, the source of its sample drivers, and what builds them. Debian 12's are installed on
# the host, which is one; those of another release in a Debian of that release, kernel-root.
kernel_packages=(linux-image-amd64 linux-headers-amd64 build-essential xz-utils)
case $suite in
bookworm)
	kernel_root=
	kernel_packages+=(linux-source-6.1)
	tools+=("${kernel_packages[@]}")
	;;
*)
	kernel_root=kernel-root
	kernel_packages+=(linux-source-6.12)
	;;
esac
# Of the guest. dmidecode tells libvirtd of the host, and pci.ids both of names; QEMU runs domains.
packages=(udev systemd systemd-sysv dbus kmod procps iproute2 dmidecode pci.ids zstd
	python3 python3-venv python3-pytest python3-lxml
	libvirt-daemon libvirt-clients python3-libvirt mdevctl)
# libvirt's daemon of Debian 13 has its drivers in packages, and wants polkitd; debootstrap does not
# find out by itself who is polkitd's logind. It has mkfs.ext4 where that is asked for.
packages+=(qemu-system-x86)
if [ "$suite" != bookworm ]; then
	packages+=(libpam-systemd libvirt-daemon-common libvirt-daemon-driver-nodedev libvirt-daemon-driver-qemu
		e2fsprogs nats-server)
fi
if [ ${#debs[@]} -gt 0 ]; then
	packages+=(apparmor cockpit-bridge python3-click python3-h11 python3-jeepney python3-msgspec
		python3-prometheus-client python3-pyudev)
fi
# The samples with mdevs, and what Debian's kernel is built without: simulated vDPA, netdevsim.
sources=(samples/vfio-mdev drivers/vdpa drivers/vhost drivers/net/netdevsim)

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }
unavailable() { # what else there is to say comes on stdin
	printf '\n%s\n' "The VM's packages cannot be had: $*"
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

install_tools() {
	local package missing=()
	for package in "${tools[@]}"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive \
		apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "${missing[@]}"; } > apt.log 2>&1 ||
		tail -n 5 apt.log | unavailable "this takes Debian 12, its archive and root: apt-get install ${missing[*]}"
}

kernel() { # a Debian with another release's kernel, and what builds drivers for it
	say "debootstrap: a Debian with ${kernel_packages[*]}"
	rm -rf "$kernel_root"
	# Nothing boots it by an initrd of its own.
	INITRD=No debootstrap --variant=minbase --include="$(IFS=,; echo "${kernel_packages[*]}")" "$suite" "$kernel_root" "$mirror" \
		> debootstrap.log 2>&1 ||
		tail -n 5 debootstrap.log | unavailable "debootstrap from $mirror failed (another mirror: DEBIAN_MIRROR=…)"
	rm -rf "$kernel_root"/var/cache/apt/archives/*.deb
}

modules() { # the tree /lib/modules/$kernel, with the drivers built here in extra/
	local tar in_kernel_root=() sources_at=$PWD/src
	tar=$(echo "$kernel_root"/usr/src/linux-source-*.tar.xz)
	say "unpacking the drivers' sources from ${tar##*/}"
	rm -rf src modules
	mkdir -p src modules
	tar -C src --strip-components=1 -xf "$tar" --wildcards "${sources[@]/#/linux-source-*/}"
	# mtty has 24 ports; mtty_big is the same driver with more, to be loaded in its place.
	sed -E 's/^(#define[[:space:]]+MAX_MTTYS)[[:space:]].*/\1 1024/' src/samples/vfio-mdev/mtty.c > src/samples/vfio-mdev/mtty_big.c
	grep -Eq '^#define[[:space:]]+MAX_MTTYS 1024' src/samples/vfio-mdev/mtty_big.c
	echo 'obj-m := mtty.o mtty_big.o mdpy.o mbochs.o' > src/samples/vfio-mdev/Kbuild
	echo 'obj-m := vdpa.o vdpa_sim/' > src/drivers/vdpa/Kbuild
	echo 'obj-m := vdpa_sim.o vdpa_sim_net.o vdpa_sim_blk.o' > src/drivers/vdpa/vdpa_sim/Kbuild
	rm src/drivers/vdpa/vdpa_sim/Makefile
	echo 'obj-m := vringh.o vhost_vdpa.o' > src/drivers/vhost/Kbuild
	mv src/drivers/vhost/vdpa.c src/drivers/vhost/vhost_vdpa.c
	cp -r "$here/module" src/vgpusim
	echo 'obj-m := samples/vfio-mdev/ drivers/vdpa/ drivers/vhost/ drivers/net/netdevsim/ vgpusim/' > src/Kbuild
	say "building them for $kernel"
	if [ -n "$kernel_root" ]; then
		mv src "$kernel_root/src"
		ln -s "$kernel_root/src" src
		in_kernel_root=(chroot "$kernel_root") sources_at=/src
	fi
	"${in_kernel_root[@]}" make -j"$(nproc)" -C "/lib/modules/$kernel/build" M="$sources_at" CONFIG_NETDEVSIM=m modules > modules.log 2>&1 ||
		{ tail -n 20 modules.log; exit 1; }
	mkdir -p modules/lib/modules
	cp -a "$kernel_root/lib/modules/$kernel" modules/lib/modules/
	rm -f "modules/lib/modules/$kernel"/{build,source}
	mkdir "modules/lib/modules/$kernel/extra"
	find src/ -name '*.ko' -exec strip --strip-debug {} + -exec cp -t "modules/lib/modules/$kernel/extra" {} +
	depmod -b modules "$kernel"
	rm -rf src "${kernel_root:-.}/src"
}

initrd() { # mounts the disk and the share, and hands over to the guest's systemd
	local module
	rm -rf initrd.d
	mkdir -p initrd.d/{bin,dev,proc,sys,new,modules}
	cp /bin/busybox initrd.d/bin/
	for module in virtio_pci virtio_blk crc32c_generic ext4 9pnet_virtio 9p; do
		modprobe -S "$kernel" -d modules --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | nl -n rz | while read -r number file; do
		case $file in
		*.xz) xz -dc "$file" > "initrd.d/modules/$number.ko" ;;
		*) cp "$file" "initrd.d/modules/$number.ko" ;;
		esac
	done
	cp "$here/init" initrd.d/init
	(cd initrd.d && find . | cpio -o -H newc --quiet) > initrd
	cp "$kernel_root/boot/vmlinuz-$kernel" vmlinuz
}

root() {
	say "debootstrap: a Debian with ${packages[*]}"
	rm -rf root
	debootstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" "$suite" root "$mirror" > debootstrap.log 2>&1 ||
		tail -n 5 debootstrap.log | unavailable "debootstrap from $mirror failed (another mirror: DEBIAN_MIRROR=…)"
	# apt understands dependencies that debootstrap does not.
	[ ${#more[@]} = 0 ] || { chroot root apt-get update -q && DEBIAN_FRONTEND=noninteractive \
		chroot root apt-get install -qy --no-install-recommends "${more[@]}"; } >> debootstrap.log 2>&1 ||
		tail -n 5 debootstrap.log | unavailable "apt-get in the guest failed: ${more[*]}"
	rm -rf root/var/cache/apt/archives/*.deb root/var/lib/apt/lists/* root/usr/share/{doc,man,locale,info}/*
}

installed() { # the packages under test, where no systemd runs
	say "installing ${debs[*]##*/}"
	mkdir -p root/srv/debs
	cp "${debs[@]}" root/srv/debs
	chroot root sh -c 'dpkg -P $(dpkg-query -f "\${Package} " -W "*nodedevd*"); dpkg -i /srv/debs/*.deb' > installed.log 2>&1 ||
		{ tail -n 20 installed.log; exit 1; }
	rm -r root/srv/debs
}

image() {
	local unit
	say "making the disk image"
	rm -rf root/lib/modules
	cp -a modules/lib/modules root/lib/modules
	echo nodedevd-vm > root/etc/hostname
	echo '127.0.0.1 localhost nodedevd-vm' > root/etc/hosts
	echo '5eed5eed5eed5eed5eed5eed5eed5eed' > root/etc/machine-id
	printf '/dev/root / ext4 noatime 0 0\nLABEL=nodedevd /opt/nodedevd ext4 ro 0 0\n' > root/etc/fstab
	echo 'auth_unix_rw = "none"' > root/etc/libvirt/libvirtd.conf
	grep -q ^libvirt: root/etc/group || chroot root groupadd --system libvirt
	# Nothing that a test does not want: no consoles, no timers, no libvirt before it is asked for.
	for unit in getty.target timers.target remote-fs.target {dev-hugepages,dev-mqueue,sys-kernel-tracing,sys-fs-fuse-connections}.mount \
		modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service proc-sys-fs-binfmt_misc.automount e2scrub_reap.service kmod-static-nodes.service \
		systemd-{binfmt,firstboot,hwdb-update,journal-catalog-update,journal-flush,logind,machine-id-commit,pstore,update-utmp,update-utmp-runlevel,user-sessions}.service \
		nats-server.service libvirt-guests.service libvirtd.service libvirtd{,-ro,-admin}.socket; do
		ln -sfn /dev/null "root/etc/systemd/system/$unit"
	done
	mkdir -p root/share root/opt/nodedevd root/etc/systemd/system/multi-user.target.wants
	cp "$here/vm-test.service" root/etc/systemd/system/
	ln -sfn ../vm-test.service root/etc/systemd/system/multi-user.target.wants/
	rm -f root.img
	truncate -s 3G root.img
	mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -m 0 -E lazy_itable_init=1 -d root root.img
}

environment() { # the one of the README's "Install it", as a disk; in the VM pip would take half a minute
	local wheel libraries
	say "installing nodedevd"
	rm -rf environment root/opt/wheels
	mkdir environment
	if [ ${#debs[@]} -gt 0 ]; then # what Debian has no package of
		libraries=environment/lib/$(basename root/usr/lib/python3.[0-9]*)/site-packages
		mkdir -p "$libraries"
		for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" "$libraries"; done
		truncate -s 32M environment.img
		mke2fs -q -F -t ext4 -O ^has_journal,^metadata_csum -m 0 -L nodedevd -d environment environment.img
		return
	fi
	chroot root python3 -m venv --clear /opt/nodedevd
	cp -r wheels root/opt/wheels
	chroot root sh -c '/opt/nodedevd/bin/pip install -q --disable-pip-version-check --no-index /opt/wheels/*.whl'
	mv root/opt/nodedevd/* environment
	rm -rf root/opt/wheels environment.img
	truncate -s 256M environment.img
	mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -m 0 -L nodedevd -d environment environment.img
}

cd "$directory"
[ "$(id -u)" = 0 ] || unavailable "this takes root (or sudo without a password)" < /dev/null
install_tools
[ -z "$kernel_root" ] || stage kernel "$suite" "${kernel_packages[@]}"
query=(dpkg-query --admindir="$kernel_root/var/lib/dpkg" -W)
kernel=$("${query[@]}" -f '${Depends}' linux-image-amd64 | grep -Eo '[0-9]+\.[0-9]+\.[^ ]*-amd64' | head -n 1)
version=$kernel-$("${query[@]}" -f '${Version}' "linux-image-$kernel")
say "kernel $version"
stage modules "$version" "${sources[@]}" "$(cat "$here"/module/*)"
stage initrd "$version" "$(cat "$here/init" modules.stamp)"
stage root "$suite" "${packages[@]}" "${more[@]}"
[ ${#debs[@]} = 0 ] || stage installed "$(cat root.stamp)" "$(sha256sum "${debs[@]}")"
stage image "$(cat "$here/vm-test.service" modules.stamp root.stamp)" "$(cat installed.stamp 2>/dev/null)"
stage environment "$(cat root.stamp)" "$(sha256sum wheels/* 2>/dev/null)"
say "the VM is built"
