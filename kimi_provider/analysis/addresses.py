"""Which network addresses are the public internet, and which lead inside.

:mod:`ipaddress` alone does not tell: it takes NAT64 of a private address for global, and has changed
its mind about shared address space. So what is public is listed here, from IANA's special-purpose
registries (RFC 6890 and what updates it), and everything else is not.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

_CLOSED_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",  # this network; 0.0.0.0 is this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' shared space; cloud metadata services live here too
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "168.63.129.16/32",  # Azure's platform address: public by number, inside by nature
    )
)
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    IPv6Network(net)
    for net in (
        "2001::/23",  # Teredo, ORCHID and other protocols' own
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address inside
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address, as a resolver gives it, is unicast on the public internet.

    NAT64's well-known prefix is judged by the IPv4 address inside, since networks without IPv4 of
    their own reach everything through it. A zone (``fe80::1%eth0``) is never public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed in _NAT64:
        parsed = IPv4Address(parsed.packed[-4:])
    if isinstance(parsed, IPv4Address):
        return not any(parsed in net for net in _CLOSED_V4)
    if parsed.scope_id is not None or parsed not in _OPEN_V6:
        return False
    return not any(parsed in net for net in _CLOSED_V6)
