"""attributes: what of an attribute in sysfs may be recorded as it is.

An attribute that is in none of these lists, and that no kind names as identifying, is taken for
identifying: a reader of a new attribute adds it here, or the recorded host differs, which
tests/unit/tree/test_record.py notices.
"""

from __future__ import annotations

PLAIN = frozenset(
    {
        # Numbers, words and versions of the kernel, a driver or a standard.
        *("available_instances", "bInterfaceClass", "bInterfaceNumber", "bInterfaceProtocol"),
        *("bInterfaceSubClass", "bios_date", "busnum", "card_type", "chpid", "class"),
        *("control_domains", "creatable_vgpu_types", "current_vgpu_type", "cutype", "dev"),
        *("dev_busid", "device", "device_api", "device_type", "devnum", "devtype", "enable_gvt"),
        *("enable_unsafe_noiommu_mode", "features", "gpu_instance_id", "guest_matrix", "hidden"),
        *("idProduct", "idVendor", "level", "lid", "link_layer", "logical_block_size", "matrix"),
        *("max_npiv_vports", "node_type", "npiv_vports_inuse", "numa_node", "online"),
        *("operstate", "partition", "phys_state", "placement_id", "proc_name", "rate"),
        *("removable", "revision", "size", "speed", "sriov_totalvfs", "state"),
        *("subsystem_device", "subsystem_vendor", "type", "unique_id"),
    }
)
"""Attributes that say nothing about which machine it is."""

DESCRIBED = frozenset(
    {
        # Names that a manufacturer gives to all devices of a model.
        *("bios_vendor", "bios_version", "board_id", "cpucp_ver", "description", "fw_ver"),
        *("fw_version", "hca_type", "model", "name", "product_name", "product_version", "rev"),
        *("sys_vendor", "vbnv", "vendor"),
    }
)
"""Attributes that name a model, in which a serial number may be hidden."""

VOCABULARY = frozenset({"model", "vendor"})
"""Attributes whose words occur in links and in ID_SERIAL, and stay there."""

UEVENT = frozenset(
    {
        *("DEVNAME", "DEVTYPE", "DRIVER", "IFINDEX", "INTERFACE", "MAJOR", "MINOR", "PCI_CLASS"),
        *("PCI_ID", "PCI_SLOT_NAME", "PCI_SUBSYS_ID"),
    }
)
"""Variables of `uevent` that are read; others have labels (PARTNAME), addresses (HID_UNIQ)."""
