"""layout: what a host should offer: files declare it, and a tree is compared with it.

`files` reads the files, `wanted` is what they declare, `compare` finds what differs on a host, and
`difference` is the answer. Nothing here changes a host.
"""
