"""Which addresses a tenant's host name may lead to (architecture, decision 20).

A name is resolved once, every address it has is checked, and the address that was checked is the
one that is connected to: a second look-up could answer differently (DNS rebinding). Names are
never compared, so that spellings such as `127.1` or `2130706433` gain nothing.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

from datanika_dagster.connectors import errors

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
        allowed: Networks that the platform's operator opened; they win over every refusal.
    """

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, cidrs: Iterable[str]) -> "NetworkPolicy":
        """Makes a policy from CIDR texts.

        Raises:
            ValueError: A text is not a network.
        """
        return cls(tuple(ipaddress.ip_network(cidr.strip(), strict=False) for cidr in cidrs))

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
        refused = [str(a) for a in addresses if not self.allows(a)]
        if refused:
            raise errors.network_denied(host, refused[0])
        return tuple(str(address) for address in addresses)

    def _allows_plain(self, address: Address) -> bool:
        if any(address in network for network in self.allowed):
            return True
        return not any(address in network for network in _REFUSED)


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
