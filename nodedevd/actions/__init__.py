"""actions: one file an action, with what a client asks for and the plan: a pure function of a tree.

A plan says which steps the action takes, and what the tree has to show afterwards. Nothing in this
folder reads or writes the host: the facts are handed in, and `control` carries the plan out.
"""
