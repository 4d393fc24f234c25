"""drawing: a tree, its uses and findings as a picture."""
