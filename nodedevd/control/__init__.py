"""control: what carries out the plans of `actions` on a host, and nothing that a reader needs.

Each change is checked before, confirmed by the tree after, and undone when it fails.
"""
