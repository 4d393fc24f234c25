// SPDX-License-Identifier: GPL-2.0-only
/*
 * vgpusim: a simulated vGPU driver, for tests of what writes to such drivers.
 *
 * Virtual functions that it is bound to, by driver_override, get the attributes by which NVIDIA's
 * host driver makes vGPUs without mdev, "vendor VFIO":
 *
 *   <VF>/nvidia/creatable_vgpu_types  the types that can be set on the function now
 *   <VF>/nvidia/current_vgpu_type     the id of the type that is set, 0 for none
 *   <VF>/nvidia/vgpu_params           options of the vGPU, free text
 *   <VF>/nvidia/placement_id          empty
 *   <VF>/nvidia/gpu_instance_id       empty
 *
 * The functions of one physical function share its memory. As on a card in equal-size mode, all
 * its vGPUs have one size, unless the parameter `mixed` is set. A write of an id that is unknown
 * or not on the list fails with EINVAL, and resets the function to 0. While the vGPU is open
 * through VFIO nothing can be written: EPERM. A vGPU can be opened once it has a type.
 *
 * The driver is a VFIO driver of its own, as NVIDIA's is: a function has an IOMMU group, a
 * vfio-dev and /dev/vfio/<group>, and vfio-pci is not involved. There is no vGPU behind it; what a
 * program sees that opens the device is the virtual function itself.
 *
 * For tests, /sys/kernel/debug/vgpusim/<VF>/ has
 *
 *   hold     not 0: the driver takes the vGPU for open, and refuses writes with EPERM
 *   hang     not 0: writes to current_vgpu_type wait, uninterruptibly, until it is 0 again
 *   waiting  how many writes wait for that
 *   fail     not 0: writes to current_vgpu_type fail with this errno, and change nothing
 */
#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/version.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include <linux/wait.h>

static unsigned int memory = 48;
module_param(memory, uint, 0444);
MODULE_PARM_DESC(memory, "GiB of each card, which its vGPUs share (default 48)");

static bool mixed;
module_param(mixed, bool, 0444);
MODULE_PARM_DESC(mixed, "vGPUs of different sizes on one card (default N)");

static const struct vgpu_type {
	unsigned int id;
	const char *name;
	unsigned int size; /* GiB */
} types[] = {
	{ 1145, "NVIDIA L40S-1B", 1 },   { 1146, "NVIDIA L40S-2B", 2 },
	{ 1147, "NVIDIA L40S-1Q", 1 },   { 1148, "NVIDIA L40S-2Q", 2 },
	{ 1149, "NVIDIA L40S-3Q", 3 },   { 1150, "NVIDIA L40S-4Q", 4 },
	{ 1151, "NVIDIA L40S-6Q", 6 },   { 1152, "NVIDIA L40S-8Q", 8 },
	{ 1153, "NVIDIA L40S-12Q", 12 }, { 1154, "NVIDIA L40S-16Q", 16 },
	{ 1155, "NVIDIA L40S-24Q", 24 }, { 1156, "NVIDIA L40S-48Q", 48 },
	{ 1157, "NVIDIA L40S-1A", 1 },   { 1158, "NVIDIA L40S-2A", 2 },
	{ 1159, "NVIDIA L40S-3A", 3 },   { 1160, "NVIDIA L40S-4A", 4 },
	{ 1161, "NVIDIA L40S-6A", 6 },   { 1162, "NVIDIA L40S-8A", 8 },
	{ 1163, "NVIDIA L40S-12A", 12 }, { 1164, "NVIDIA L40S-16A", 16 },
	{ 1165, "NVIDIA L40S-24A", 24 }, { 1166, "NVIDIA L40S-48A", 48 },
	{ 2164, "NVIDIA L40S-3B", 3 },
};

/* A physical function and what its virtual functions take of it. */
struct card {
	struct list_head list;
	struct pci_dev *physfn;
	struct list_head functions;
	struct mutex lock; /* of the list and of all fields of its members */
};

/* A virtual function; the VFIO device is first, since VFIO allocates the whole. */
struct function {
	struct vfio_pci_core_device core;
	struct card *card;
	struct list_head list;
	const struct vgpu_type *type; /* NULL: it is no vGPU */
	char params[256];
	unsigned int opened;
	bool hold;
	u32 fail;

	struct dentry *debug;
	wait_queue_head_t released;
	bool hang;
	atomic_t waiting;
};

static LIST_HEAD(cards);
static DEFINE_MUTEX(cards_lock);
static struct dentry *debug_root;

/* -- the memory of a card ------------------------------------------------------------------- */

static struct card *card_get(struct pci_dev *physfn)
{
	struct card *card;

	lockdep_assert_held(&cards_lock);
	list_for_each_entry(card, &cards, list)
		if (card->physfn == physfn)
			return card;
	card = kzalloc(sizeof(*card), GFP_KERNEL);
	if (!card)
		return NULL;
	card->physfn = pci_dev_get(physfn);
	INIT_LIST_HEAD(&card->functions);
	mutex_init(&card->lock);
	list_add(&card->list, &cards);
	return card;
}

static void card_put(struct card *card)
{
	lockdep_assert_held(&cards_lock);
	if (!list_empty(&card->functions))
		return;
	list_del(&card->list);
	mutex_destroy(&card->lock);
	pci_dev_put(card->physfn);
	kfree(card);
}

static bool is_creatable(const struct function *function, const struct vgpu_type *type)
{
	const struct function *other;
	unsigned int left = memory;

	lockdep_assert_held(&function->card->lock);
	if (function->type)
		return false;
	list_for_each_entry(other, &function->card->functions, list) {
		if (!other->type)
			continue;
		if (!mixed && other->type->size != type->size)
			return false;
		left -= other->type->size;
	}
	return type->size <= left;
}

/* -- nvidia/ -------------------------------------------------------------------------------- */

static struct function *to_function(struct device *dev)
{
	struct vfio_pci_core_device *core = dev_get_drvdata(dev);

	return container_of(core, struct function, core);
}

static ssize_t creatable_vgpu_types_show(struct device *dev, struct device_attribute *attr,
					 char *buf)
{
	struct function *function = to_function(dev);
	ssize_t length = sysfs_emit(buf, "ID    : vGPU Name\n");
	unsigned int i;

	mutex_lock(&function->card->lock);
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (is_creatable(function, &types[i]))
			length += sysfs_emit_at(buf, length, "%-5u : %s\n", types[i].id,
						types[i].name);
	mutex_unlock(&function->card->lock);
	return length;
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct function *function = to_function(dev);
	ssize_t length;

	mutex_lock(&function->card->lock);
	length = sysfs_emit(buf, "%u\n", function->type ? function->type->id : 0);
	mutex_unlock(&function->card->lock);
	return length;
}

static int set_type(struct function *function, const char *buf)
{
	const struct vgpu_type *wanted = NULL;
	unsigned int id, i;
	int error = kstrtouint(buf, 10, &id);

	lockdep_assert_held(&function->card->lock);
	if (function->fail)
		return -(int)function->fail;
	if (function->opened || function->hold)
		return -EPERM;
	for (i = 0; !error && i < ARRAY_SIZE(types); i++)
		if (types[i].id == id && is_creatable(function, &types[i]))
			wanted = &types[i];
	function->type = wanted;
	function->params[0] = '\0';
	return wanted || (!error && id == 0) ? 0 : -EINVAL;
}

static ssize_t current_vgpu_type_store(struct device *dev, struct device_attribute *attr,
				       const char *buf, size_t count)
{
	struct function *function = to_function(dev);
	int error;

	/* As deep as a driver can sleep: no signal ends the writer, not even SIGKILL. */
	atomic_inc(&function->waiting);
	wait_event(function->released, !READ_ONCE(function->hang));
	atomic_dec(&function->waiting);

	mutex_lock(&function->card->lock);
	error = set_type(function, buf);
	mutex_unlock(&function->card->lock);
	return error ? error : count;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static ssize_t vgpu_params_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct function *function = to_function(dev);
	ssize_t length;

	mutex_lock(&function->card->lock);
	length = sysfs_emit(buf, "%s\n", function->params);
	mutex_unlock(&function->card->lock);
	return length;
}

/* What NVIDIA's driver answers to options of a function that is no vGPU is not public. */
static ssize_t vgpu_params_store(struct device *dev, struct device_attribute *attr,
				 const char *buf, size_t count)
{
	struct function *function = to_function(dev);
	int error = 0;

	mutex_lock(&function->card->lock);
	if (function->opened || function->hold)
		error = -EPERM;
	else if (!function->type || count >= sizeof(function->params))
		error = -EINVAL;
	else
		strscpy(function->params, buf, strchrnul(buf, '\n') - buf + 1);
	mutex_unlock(&function->card->lock);
	return error ? error : count;
}
static DEVICE_ATTR_RW(vgpu_params);

static ssize_t placement_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "\n");
}
static DEVICE_ATTR_RO(placement_id);

static ssize_t gpu_instance_id_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "\n");
}
static DEVICE_ATTR_RO(gpu_instance_id);

static struct attribute *nvidia_attributes[] = {
	&dev_attr_creatable_vgpu_types.attr,
	&dev_attr_current_vgpu_type.attr,
	&dev_attr_vgpu_params.attr,
	&dev_attr_placement_id.attr,
	&dev_attr_gpu_instance_id.attr,
	NULL,
};

static const struct attribute_group nvidia_group = {
	.name = "nvidia",
	.attrs = nvidia_attributes,
};

/* -- debugfs -------------------------------------------------------------------------------- */

static int hang_get(void *data, u64 *value)
{
	struct function *function = data;

	*value = READ_ONCE(function->hang);
	return 0;
}

static int hang_set(void *data, u64 value)
{
	struct function *function = data;

	WRITE_ONCE(function->hang, value != 0);
	wake_up_all(&function->released);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hang_fops, hang_get, hang_set, "%llu\n");

static int waiting_get(void *data, u64 *value)
{
	struct function *function = data;

	*value = READ_ONCE(function->hang) ? atomic_read(&function->waiting) : 0;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(waiting_fops, waiting_get, NULL, "%llu\n");

static void debug_add(struct function *function, const char *name)
{
	init_waitqueue_head(&function->released);
	function->debug = debugfs_create_dir(name, debug_root);
	debugfs_create_bool("hold", 0600, function->debug, &function->hold);
	debugfs_create_file_unsafe("hang", 0600, function->debug, function, &hang_fops);
	debugfs_create_file_unsafe("waiting", 0400, function->debug, function, &waiting_fops);
	debugfs_create_u32("fail", 0600, function->debug, &function->fail);
}

/* Afterwards nothing waits, and nothing can be made to wait. */
static void debug_remove(struct function *function)
{
	debugfs_remove_recursive(function->debug);
	hang_set(function, 0);
}

/* -- VFIO ----------------------------------------------------------------------------------- */

static int vgpusim_open_device(struct vfio_device *vdev)
{
	struct function *function = container_of(vdev, struct function, core.vdev);
	int error;

	mutex_lock(&function->card->lock);
	error = function->type ? 0 : -ENODEV;
	if (!error)
		function->opened++;
	mutex_unlock(&function->card->lock);
	if (error)
		return error;

	error = vfio_pci_core_enable(&function->core);
	if (error) {
		mutex_lock(&function->card->lock);
		function->opened--;
		mutex_unlock(&function->card->lock);
		return error;
	}
	vfio_pci_core_finish_enable(&function->core);
	return 0;
}

static void vgpusim_close_device(struct vfio_device *vdev)
{
	struct function *function = container_of(vdev, struct function, core.vdev);

	vfio_pci_core_close_device(vdev);
	mutex_lock(&function->card->lock);
	function->opened--;
	mutex_unlock(&function->card->lock);
}

static const struct vfio_device_ops vgpusim_ops = {
	.name = "vgpusim",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = vgpusim_open_device,
	.close_device = vgpusim_close_device,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	/* Without these a device is not registered. */
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
#endif
};

/* -- PCI ------------------------------------------------------------------------------------ */

static int vgpusim_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct function *function;
	int error;

	if (!pdev->is_virtfn)
		return -ENODEV;

	function = vfio_alloc_device(function, core.vdev, &pdev->dev, &vgpusim_ops);
	if (IS_ERR(function))
		return PTR_ERR(function);
	dev_set_drvdata(&pdev->dev, &function->core);

	mutex_lock(&cards_lock);
	function->card = card_get(pci_physfn(pdev));
	if (function->card) {
		mutex_lock(&function->card->lock);
		list_add_tail(&function->list, &function->card->functions);
		mutex_unlock(&function->card->lock);
	}
	mutex_unlock(&cards_lock);
	if (!function->card) {
		error = -ENOMEM;
		goto put_device;
	}
	debug_add(function, pci_name(pdev));

	error = vfio_pci_core_register_device(&function->core);
	if (error)
		goto leave_card;
	error = sysfs_create_group(&pdev->dev.kobj, &nvidia_group);
	if (error)
		goto unregister;
	return 0;

unregister:
	vfio_pci_core_unregister_device(&function->core);
leave_card:
	debug_remove(function);
	mutex_lock(&cards_lock);
	mutex_lock(&function->card->lock);
	list_del(&function->list);
	mutex_unlock(&function->card->lock);
	card_put(function->card);
	mutex_unlock(&cards_lock);
put_device:
	vfio_put_device(&function->core.vdev);
	return error;
}

static void vgpusim_remove(struct pci_dev *pdev)
{
	struct function *function = to_function(&pdev->dev);

	/* First, since sysfs waits for writers before it takes an attribute away. */
	debug_remove(function);
	sysfs_remove_group(&pdev->dev.kobj, &nvidia_group);
	/* Waits as long as the vGPU is open. */
	vfio_pci_core_unregister_device(&function->core);

	mutex_lock(&cards_lock);
	mutex_lock(&function->card->lock);
	list_del(&function->list);
	mutex_unlock(&function->card->lock);
	card_put(function->card);
	mutex_unlock(&cards_lock);
	vfio_put_device(&function->core.vdev);
}

static const struct pci_device_id vgpusim_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vgpusim_ids);

static struct pci_driver vgpusim_driver = {
	.name = "vgpusim",
	.id_table = vgpusim_ids,
	.probe = vgpusim_probe,
	.remove = vgpusim_remove,
	.err_handler = &vfio_pci_core_err_handlers,
	.driver_managed_dma = true,
};

static int __init vgpusim_init(void)
{
	int error;

	debug_root = debugfs_create_dir("vgpusim", NULL);
	error = pci_register_driver(&vgpusim_driver);
	if (error)
		debugfs_remove_recursive(debug_root);
	return error;
}
module_init(vgpusim_init);

static void __exit vgpusim_exit(void)
{
	pci_unregister_driver(&vgpusim_driver);
	debugfs_remove_recursive(debug_root);
}
module_exit(vgpusim_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Simulated vGPUs of virtual functions, by the interface of vendor VFIO");
