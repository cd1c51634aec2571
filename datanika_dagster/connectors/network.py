"""Which addresses a tenant's host name may lead to (docs/decisions/0023-checked-addresses.md).

A name is resolved once, every address it has is checked, and the address that was checked is the
one that is connected to: a second look-up could answer differently (DNS rebinding). Names are
never compared, so that spellings such as `127.1` or `2130706433` gain nothing.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from datanika_dagster.connectors import errors
from datanika_dagster.launcher.job import JobError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RESOLVE_TIMEOUT_SECONDS = 1.5

_REFUSED = tuple(
    ipaddress.ip_network(block)
    for block in (
        # https://www.iana.org/assignments/iana-ipv4-special-registry
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # https://www.iana.org/assignments/iana-ipv6-special-registry
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",
        "::ffff:0:0:0/96",
        "100::/64",
        "2001::/32",
        "2002::/16",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        # Instance metadata of clouds outside the link-local block (Alibaba, Azure, AWS).
        "100.100.100.200/32",
        "168.63.129.16/32",
        "fd00:ec2::254/128",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


@dataclass(frozen=True)
class NetworkPolicy:
    """What may be connected to.

    Attributes:
        allowed: Networks that the platform's operator opened; they win over every refused network.
        refused_endpoints: Host and port of the platform's own services, which nothing opens.
    """

    allowed: tuple[Network, ...] = ()
    refused_endpoints: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(
        cls, cidrs: Iterable[str], refused_endpoints: Iterable[Sequence[Any]] = ()
    ) -> "NetworkPolicy":
        """Makes a policy from texts.

        Args:
            cidrs: The opened networks.
            refused_endpoints: Pairs of host and port.

        Raises:
            ValueError: A text is not a network.
        """
        return cls(
            tuple(ipaddress.ip_network(cidr.strip(), strict=False) for cidr in cidrs),
            tuple((str(host), int(port)) for host, port in refused_endpoints),
        )

    def allows(self, address: Address) -> bool:
        """Tells whether `address`, and every address hidden inside it, may be connected to."""
        return all(self._allows_plain(inner) for inner in _unwrapped(address))

    def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """Returns the addresses of `host`, all of them checked.

        Args:
            host: A name or an address, in any spelling that the resolver understands.
            port: TCP port.

        Raises:
            JobError: `connection.dns` where there is no address, `connection.network_denied`
                where any of them is refused.
        """
        addresses = _look_up(host, port)
        own = self._own_addresses(port)
        refused = [str(a) for a in addresses if not self.allows(a) or _is_one_of(a, own)]
        if refused:
            raise errors.network_denied(host, refused[0])
        return tuple(str(address) for address in addresses)

    def _own_addresses(self, port: int) -> list[Address]:
        own: list[Address] = []
        for host, own_port in self.refused_endpoints:
            # A name that leads nowhere from here is no service that could be reached from here.
            if own_port == port:
                with contextlib.suppress(JobError):
                    own.extend(_look_up(host, port))
        return own

    def _allows_plain(self, address: Address) -> bool:
        if any(address in network for network in self.allowed):
            return True
        return not any(address in network for network in _REFUSED)


def _is_one_of(address: Address, own: Iterable[Address]) -> bool:
    """Tells whether `address` leads to one of `own`; all of loopback is the same machine."""
    inner = _unwrapped(address)
    return any(
        found == service or (_is_this_machine(found) and _is_this_machine(service))
        for found in inner
        for service in own
    )


def _is_this_machine(address: Address) -> bool:
    return address.is_loopback or address.is_unspecified


def _unwrapped(address: Address) -> Sequence[Address]:
    """Returns `address` and the IPv4 addresses that tunnels and mappings would lead to."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    inner = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return (address, *(found for found in inner if found is not None))


def _look_up(host: str, port: int) -> list[Address]:
    # getaddrinfo knows no timeout of its own; a resolver that hangs must not hang the job.
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="resolve")
    try:
        found = pool.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM).result(
            timeout=RESOLVE_TIMEOUT_SECONDS
        )
    except FutureTimeoutError:
        raise errors.dns(host, "the name server did not answer in time") from None
    except (OSError, UnicodeError):
        raise errors.dns(host, "no such name") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    # The scope of a link-local address ("fe80::1%eth0") is no part of what is checked.
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ipaddress.ip_address(text) for text in texts]
