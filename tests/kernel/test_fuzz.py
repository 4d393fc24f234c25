"""The fuzz target of uevents: messages on a real socket, in a network namespace of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from tests.fuzz.corpus import read_corpus
from tests.fuzz.targets import uevents
from tests.support.mutations import mutated
from tests.support.search import examples


def run() -> None:
    """Run the corpus, and inputs made of it."""
    target = uevents.TARGET
    corpus = read_corpus(target.name)
    others = islice(mutated(corpus, target.words, target.most_bytes), examples(5))
    try:
        for data in (*corpus, *others):
            target.check(data)
    finally:
        for one in uevents._sockets():
            one.close()
        uevents._sockets.cache_clear()


@pytest.mark.needs("root", "namespaces")
def test_any_message_is_an_event_or_lost_and_the_next_arrives() -> None:
    """A thread of its own, since the namespace is that of the thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()
