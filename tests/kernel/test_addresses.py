"""addresses on a real kernel."""

from __future__ import annotations

import pytest

from nodedevd.host.addresses import interfaces_with_address
from tests.support.namespace import Namespace

SHOW = """
import subprocess
from nodedevd.host.addresses import interfaces_with_address

def show(*words):
    subprocess.run(["ip", *words], check=True)
    print(sorted(interfaces_with_address()))

show("link", "set", "lo", "up")
show("address", "add", "169.254.1.1/16", "dev", "lo", "scope", "link")
show("address", "add", "192.0.2.1/32", "dev", "lo")
show("address", "del", "192.0.2.1/32", "dev", "lo")
show("address", "add", "2001:db8::1/128", "dev", "lo")
"""


@pytest.mark.needs("namespaces")
def test_interface_with_an_address_beyond_the_link_is_returned() -> None:
    """Of IPv4 and of IPv6; addresses of the host and of the link do not count."""
    with Namespace() as own:
        result = own.python(SHOW)
    assert result.splitlines() == ["[]", "[]", "['lo']", "[]", "['lo']"]


def test_any_user_gets_an_answer() -> None:
    """The kernel asks for no capability."""
    assert isinstance(interfaces_with_address(), frozenset)
