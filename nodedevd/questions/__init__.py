"""questions: pure functions that answer a question about a tree and the facts of its host."""
