"""Which addresses a tenant may lead the platform to."""

import pytest

from datanika_dagster.connectors.network import NetworkPolicy
from datanika_dagster.launcher.job import JobError

REFUSED = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "localhost",
    "0.0.0.0",
    "169.254.169.254",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "fe80::1",
    "2002:7f00:1::",
    "2002:0808:0808::",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:ffff::1",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "ff02::1",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
]
ALLOWED = [
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "8.8.8.8",
    "fd12::1",
    "2606:4700::1111",
]


@pytest.mark.parametrize("host", REFUSED)
def test_refused(host: str) -> None:
    with pytest.raises(JobError) as caught:
        NetworkPolicy().resolve(host, 5432)
    assert caught.value.code == "connection.network_denied"
    assert caught.value.field == "host"


@pytest.mark.parametrize("host", ALLOWED)
def test_allowed(host: str) -> None:
    assert NetworkPolicy().resolve(host, 5432) == (host,)


def test_the_operator_opens_networks() -> None:
    policy = NetworkPolicy.of(["127.0.0.0/8", " 169.254.0.0/16 "])
    assert policy.resolve("2130706433", 5432) == ("127.0.0.1",)
    assert policy.resolve("169.254.1.1", 5432) == ("169.254.1.1",)
    with pytest.raises(JobError):
        policy.resolve("::1", 5432)


OWN = [("127.0.0.1", 18072), ("localhost", 18070), ("no-such-host.invalid", 18070)]


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", 18072),
        ("127.1", 18072),
        ("127.0.0.2", 18072),
        ("0.0.0.0", 18072),
        ("::1", 18072),
        ("::ffff:127.0.0.1", 18072),
        ("127.0.0.1", 18070),
    ],
)
def test_the_platforms_own_services_are_refused_in_an_opened_network(host: str, port: int) -> None:
    policy = NetworkPolicy.of(["0.0.0.0/0", "::/0"], OWN)
    with pytest.raises(JobError) as caught:
        policy.resolve(host, port)
    assert caught.value.code == "connection.network_denied"


def test_other_ports_of_an_opened_network_are_not() -> None:
    policy = NetworkPolicy.of(["127.0.0.0/8"], OWN)
    assert policy.resolve("127.0.0.1", 18073) == ("127.0.0.1",)


def test_one_refused_address_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_addresses(host: str, port: int, **_: object) -> list[object]:
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("socket.getaddrinfo", two_addresses)
    with pytest.raises(JobError, match=r"127\.0\.0\.1"):
        NetworkPolicy().resolve("rebinding.example", 5432)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".example", "\x00"])
def test_names_that_lead_nowhere(host: str) -> None:
    with pytest.raises(JobError) as caught:
        NetworkPolicy().resolve(host, 5432)
    assert caught.value.code == "connection.dns"
