"""hook: what libvirt runs around the life of a domain, to make its vGPUs and to remove them.

libvirt waits for a hook, with the domain locked: nothing here calls libvirt, and all of it is
over in time.
"""
