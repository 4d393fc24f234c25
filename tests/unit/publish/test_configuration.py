"""fleet.toml: what may stand in it, and which line is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from nodedevd.client.fleet.access import access
from nodedevd.host.settings_file import BadConfiguration
from nodedevd.publish import __main__ as program
from nodedevd.publish.__main__ import EXIT_CONFIGURATION, main
from nodedevd.publish.configuration import parse_configuration, read_configuration
from nodedevd.publish.identity import AlreadyPublishing, Identity
from tests.support.running import REPOSITORY


def test_configuration_has_what_the_file_says(tmp_path: Path) -> None:
    """And the defaults for all else."""
    path = tmp_path / "fleet.toml"
    path.write_text(
        'servers = ["tls://a:4222", "tls://b:4222"]\nhost = "kvm1"\n[tls]\nca = "/etc/ca.pem"\n'
    )
    found = read_configuration(str(path))
    assert (found.servers, found.own_id) == (("tls://a:4222", "tls://b:4222"), "kvm1")
    assert found.tls is not None
    assert (found.tls.ca, found.heartbeat_seconds, found.bucket) == ("/etc/ca.pem", 15, "fleet")
    dotted = parse_configuration(b'servers = ["nats://a"]\nname = "kvm1.example"')
    assert dotted.own_id == "kvm1_example"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('servers = ["nats://a"]\nhots = "x"', 2, "unknown key 'hots'"),
        ('servers = ["nats://a"]\n\nhost = "a.b"', 3, "host cannot be used"),
        ('servers = ["nats://a"]\n\nhost = "a\\n"', 3, "host cannot be used"),
        ('servers = ["nats://a"]\nbucket = "a\\n"', 2, "bucket cannot be used"),
        ('servers = ["nats://a"]\nheartbeat_seconds = 0', 2, "heartbeat_seconds"),
        ('servers = ["nats://a"]\n[tls]\ncertificates = "/x"', 2, "tls cannot be used"),
        ('servers = ["nats://a"]\npassword_file = "relative"', 2, "password_file"),
        ('servers = ["nats://a"', 1, ""),
        ('host = "a"\nservers = []', 2, "there is none"),
        ('host = "a"\nservers = ["nats://a", "http://b"]', 2, "number 2 is no URL"),
        ('servers = ["nats://a"]\ntimeout_seconds = 0', 2, "timeout_seconds"),
        ('servers = ["nats://a"]\ntimeout_seconds = -1', 2, "timeout_seconds"),
        ('servers = ["nats://a"]\ntimeout_seconds = nan', 2, "timeout_seconds"),
        ('servers = ["nats://a"]\npublish_seconds = nan', 2, "publish_seconds"),
        ('host = "a"', None, "give servers"),
    ],
)
def test_mistake_is_refused_with_its_line(text: str, line: int | None, reason: str) -> None:
    """A misspelt key must not go unnoticed."""
    with pytest.raises(BadConfiguration) as error:
        parse_configuration(text.encode())
    assert error.value.line == line
    assert reason in error.value.reason


@pytest.mark.parametrize("given", ["kvm1.example", "", "a*", "x" * 65, "a\n"])
def test_host_that_is_no_id_is_wrong_usage(given: str) -> None:
    """Nobody would find what is published under it."""
    result = CliRunner().invoke(main, ["--server", "nats://a", "--host", given])
    assert result.exit_code == 2
    assert "is no id: give 1 to 64 ASCII letters" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "text", ['servers = ["http://a"]', 'servers = ["nats://a"]\npassword_file = "/nonexistent"']
)
def test_file_that_cannot_be_used_ends_the_publisher(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a status at which systemd does not start it again."""
    pytest.importorskip("nats")
    monkeypatch.setattr(program, "set_up_logging", lambda *arguments: None)
    path = tmp_path / "fleet.toml"
    path.write_text(f'{text}\nstate_directory = "{tmp_path}"\n')
    result = CliRunner().invoke(main, ["--config", str(path)])
    assert result.exit_code == EXIT_CONFIGURATION


def test_file_that_is_missing_or_open_to_others_is_refused(tmp_path: Path) -> None:
    """It decides to whom a host's devices are told."""
    path = tmp_path / "fleet.toml"
    with pytest.raises(BadConfiguration, match="no such file"):
        read_configuration(str(path))
    path.write_text('servers = ["nats://a"]')
    path.chmod(0o666)
    with pytest.raises(BadConfiguration, match="others can write"):
        read_configuration(str(path))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://u:secret@a:1", "nats://a:1"),
        ("TLS://token@a:1", "TLS://a:1"),
        ("u:secret@a:1", "a:1"),
        ("nats://u:p@ss@a:1", "nats://a:1"),
        ("nats://u:pa/ss@a:1", "nats://a:1"),
        ("u:a://b@a:1", "a:1"),
        ("nats://u:p\n@a:1", "nats://a:1"),
        ("nats://b:2", "nats://b:2"),
        ("b", "b"),
    ],
)
def test_passwords_in_urls_are_not_shown(url: str, shown: str) -> None:
    """Neither in errors nor in the log, also where a URL has them unquoted."""
    assert access([url, "nats://b:2"]).shown == (shown, "nats://b:2")


def test_next_publisher_of_a_machine_knows_the_one_before(tmp_path: Path) -> None:
    """And two at a time exclude each other."""
    first = Identity(str(tmp_path), "a")
    assert first.before is None
    first.keep()
    with pytest.raises(AlreadyPublishing):
        Identity(str(tmp_path), "a")
    Identity(str(tmp_path), "b").close()
    first.close()
    second = Identity(str(tmp_path), "a")
    assert second.before == first.name != second.name
    second.close()


def test_example_in_the_documentation_is_a_configuration() -> None:
    """Every key is described there."""
    page = (REPOSITORY / "docs" / "fleet.md").read_text(encoding="utf-8")
    for key in parse_configuration(b'servers = ["nats://a"]').__struct_fields__:
        assert f"`{key}`" in page
