"""Which addresses are public. A clip is never fetched from another one, whatever a record, a redirect or DNS says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_PROTOCOL_ASSIGNMENTS = IPv4Network("192.0.0.0/24")  # RFC 6890; Python before 3.11.10 calls it public
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # everything else is local or unassigned


class PublicResolver(AbstractResolver):
    """Resolves a name to its public addresses only; aiohttp connects to these and does not ask again."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        public = [entry for entry in found if is_public(entry["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def is_public(address: str) -> bool:
    """Whether an IP address is public unicast; an IPv4 address inside an IPv6 one is checked too.

    Raises ValueError if the text is not an IP address.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if embedded := _embedded_ipv4(ip):
            return all(is_public(str(inner)) for inner in embedded)
        if ip not in _GLOBAL_UNICAST:
            return False
    elif ip in _PROTOCOL_ASSIGNMENTS:
        return False
    return ip.is_global and not ip.is_multicast


def may_be_public(host: str) -> bool:
    """False for an IP address that is not public. Names pass: PublicResolver checks what they resolve to.

    aiohttp does not ask the resolver about IP addresses, so they need this check.
    """
    try:
        return is_public(host)
    except ValueError:
        return True


def _embedded_ipv4(ip: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that packets to `ip` may reach: mapped, 6to4, Teredo client, or NAT64 (RFC 6052)."""
    if inner := ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None):
        return [inner]
    if ip in _NAT64:
        return [IPv4Address(int(ip) & 0xFFFF_FFFF)]
    if ip not in _LOCAL_NAT64:
        return []
    # The network's prefix length is unknown: 96 bits, or 48, 56 or 64. With one of the latter, bits 64 to 71 and
    # everything after the IPv4 address are zero.
    bits, found = f"{int(ip):0128b}", []
    for end in (48, 56, 64):
        last = 72 + 32 - (64 - end)
        if "1" not in bits[64:72] + bits[last:]:
            found.append(IPv4Address(int(bits[end:64] + bits[72:last], 2)))
    if "1" in bits[96:] or not found:
        found.append(IPv4Address(int(bits[96:], 2)))
    return found
