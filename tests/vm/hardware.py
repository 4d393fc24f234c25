"""The VM's hardware: one of each kind that QEMU emulates and a kind of node device is read from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MEMORY_MIB = 2048
UUID = "5eed5eed-0000-4000-8000-000000000001"
DISK_BYTES = 64 << 20
DISKS = ("sd0", "sd1", "sd2", "sata", "nvme1", "nvme2", "usb", "uas", "sdcard", "sas")
KERNEL = (
    "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check nowatchdog"
    " intel_iommu=on iommu=pt systemd.show_status=0 net.ifnames=1"
)

VFS = ",sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4"
# Without bus=, QEMU takes the last bus it knows, which is the expander's.
DEVICES = """
-object memory-backend-ram,id=m0,size={half}M -object memory-backend-ram,id=m1,size={half}M
-numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1
-device intel-iommu
-object rng-random,id=rng0,filename=/dev/urandom
-device virtio-rng-pci,rng=rng0,bus=pcie.0,addr=6
-device VGA,bus=pcie.0,addr=7

-device virtio-scsi-pci,id=vscsi,bus=pcie.0,addr=8
-device scsi-hd,bus=vscsi.0,scsi-id=0,lun=0,drive=sd0,serial=VMSD0,wwn=0x5000c50015ea71aa
-device scsi-hd,bus=vscsi.0,scsi-id=1,lun=0,drive=sd1,serial=VMSD1
-device scsi-hd,bus=vscsi.0,scsi-id=1,lun=1,drive=sd2,serial=VMSD2,rotation_rate=1
-drive if=none,id=cd0,file={run}/cd.iso,format=raw,readonly=on
-device scsi-cd,bus=vscsi.0,scsi-id=2,lun=0,drive=cd0
-device ide-hd,bus=ide.0,drive=sata,serial=VMSATA,wwn=0x5000c500a1b2c3d4
-device ide-cd,bus=ide.1

-device pcie-root-port,id=rp1,chassis=1,slot=1,bus=pcie.0,addr=10.0,multifunction=on
-device pcie-root-port,id=rp2,chassis=2,slot=2,bus=pcie.0,addr=10.1
-device pcie-root-port,id=rp3,chassis=3,slot=3,bus=pcie.0,addr=10.2
-device nvme-subsys,id=nss,nqn=vm
-device nvme,id=nvme0,bus=rp1,subsys=nss,serial=VMNVME,max_ioqpairs=10,msix_qsize=7{vfs}
-device nvme-ns,drive=nvme1,bus=nvme0,nsid=1,shared=on,eui64=0x0011223344556677
-device nvme-ns,drive=nvme2,bus=nvme0,nsid=2,shared=on
-device x3130-upstream,id=up,bus=rp2
-device xio3130-downstream,id=dn0,bus=up,chassis=6,slot=0
-device xio3130-downstream,id=dn1,bus=up,chassis=7,slot=1
-netdev user,id=n0,restrict=on -device e1000e,bus=dn0,romfile=,netdev=n0,mac=52:54:00:00:00:10
-netdev user,id=n1,restrict=on
-device virtio-net-pci,bus=dn1,romfile=,netdev=n1,mac=52:54:00:00:00:11
-device pcie-pci-bridge,id=pb,bus=rp3 -device pci-bridge,id=pb2,bus=pb,addr=1,chassis_nr=9
-netdev user,id=n2,restrict=on -device e1000,bus=pb2,addr=1,romfile=,netdev=n2,mac=52:54:00:00:00:12
-device sdhci-pci,bus=pb2,addr=2 -device sd-card,drive=sdcard
-device edu,bus=pb,addr=2
-device i6300esb,bus=pb,addr=3
-device mptsas1068,id=mpt,bus=pb,addr=4 -device scsi-hd,bus=mpt.0,scsi-id=3,drive=sas,serial=VMSAS
-device pxb-pcie,id=pxb,bus_nr=128,numa_node=1,bus=pcie.0,addr=11
-device pcie-root-port,id=rpn1,bus=pxb,chassis=10,slot=10
-netdev user,id=n3,restrict=on -device e1000e,bus=rpn1,romfile=,netdev=n3,mac=52:54:00:00:00:13

-device qemu-xhci,id=xhci,p2=8,p3=8,bus=pcie.0,addr=9
-device usb-tablet,bus=xhci.0,port=1 -device usb-kbd,bus=xhci.0,port=2
-device usb-hub,bus=xhci.0,port=3
-device usb-storage,bus=xhci.0,port=3.1,drive=usb,serial=VMUSB,removable=on
-chardev null,id=us -device usb-serial,bus=xhci.0,port=3.2,chardev=us,always-plugged=on
-netdev user,id=n4,restrict=on -device usb-net,bus=xhci.0,port=3.3,netdev=n4,mac=52:54:00:00:00:14
-device usb-ccid,bus=xhci.0,port=3.4
-device usb-uas,id=uas,bus=xhci.0,port=4 -device scsi-hd,bus=uas.0,scsi-id=0,lun=0,drive=uas
-audiodev none,id=au -device usb-audio,bus=xhci.0,port=5,audiodev=au
-device ich9-usb-ehci1,id=ehci,bus=pcie.0,addr=a -device usb-mouse,bus=ehci.0
-object memory-backend-file,id=pm0,share=on,mem-path={run}/pmem,size=64M -device nvdimm,memdev=pm0
"""


def command(
    built: Path, run: Path, share: Path, *, root: Path | None = None, audit: bool = False
) -> list[str]:
    """Return how QEMU is called.

    Args:
        built: What `build.sh` has made; it is only read.
        run: A directory of this run's: its disks, `console.log`, and `output`, a socket where
            somebody listens for what the tests print.
        share: The directory that the VM mounts.
        root: The disk that the VM boots from, and writes to; by default that of `built`, whose
            copy is thrown away.
        audit: Whether the kernel logs what AppArmor denies.
    """
    disk, copied = (f"{built}/root.img", "on") if root is None else (str(root), "off")
    kernel = KERNEL if audit else f"{KERNEL} audit=0"
    return [
        *("qemu-system-x86_64", "-name", "nodedevd-vm", "-nodefaults", "-no-user-config"),
        *("-display", "none", "-machine", "q35,kernel-irqchip=off,nvdimm=on"),
        # KVM is not everywhere; tcg is.
        *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,svm=off,la57=off,pmu=off"),
        *("-uuid", UUID, "-smbios", "type=1,manufacturer=Maker,product=Model,serial=VMHOST"),
        *("-smp", "2", "-m", f"{MEMORY_MIB}M,slots=2,maxmem={MEMORY_MIB + 1024}M"),
        *("-kernel", f"{built}/vmlinuz", "-initrd", f"{built}/initrd", "-append", kernel),
        *("-serial", f"file:{run}/console.log"),
        *("-chardev", f"socket,id=output,path={run}/output", "-serial", "chardev:output"),
        # Every write goes to a copy that is thrown away.
        *(
            "-drive",
            f"if=none,id=root,file={disk},format=raw,snapshot={copied},cache=unsafe",
        ),
        *("-device", "virtio-blk-pci,drive=root,serial=vmroot,bus=pcie.0,addr=2"),
        *("-drive", f"if=none,id=env,file={built}/environment.img,format=raw,snapshot=on"),
        *("-device", "virtio-blk-pci,drive=env,bus=pcie.0,addr=3"),
        *("-fsdev", f"local,id=share,path={share},security_model=none,multidevs=remap"),
        *("-device", "virtio-9p-pci,bus=pcie.0,fsdev=share,mount_tag=share,addr=4"),
        *_disks(run),
        *DEVICES.format(half=MEMORY_MIB // 2, run=run, vfs=VFS).split(),
    ]


def _disks(run: Path) -> Iterator[str]:
    for name in DISKS:
        with open(run / f"{name}.raw", "wb") as disk:
            disk.truncate(DISK_BYTES)
        file = f"file.driver=file,file.filename={run}/{name}.raw"
        yield from ("-blockdev", f"driver=raw,node-name={name},{file}")
    with open(run / "cd.iso", "wb") as disk:
        disk.truncate(2 << 20)
