"""Values that belong to nobody because they are reserved for examples.

They are replaced like all others unless the recipe keeps them: readers cannot distinguish them in running text, and
detectors are tested with them. In a corpus of code or manuals, keeping them leaves the text as its author wrote it.
"""

from __future__ import annotations

import ipaddress
import re

# RFC 2606: domains for documentation.
DOMAIN = re.compile(r"(?:[\w-]+\.)*(?:example\.(?:com|org|net|edu)|[\w-]+\.(?:example|test|invalid))", re.IGNORECASE)
# RFC 5737, RFC 3849: networks for documentation.
NETWORKS = tuple(
    ipaddress.ip_network(name) for name in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
# North American numbers for fiction: 555-0100 to 555-0199.
FICTION = re.compile(r"555\D?01\d\d$")


def is_example(label: str, value: str) -> bool:
    """Whether a value with this label is reserved for examples by its authority."""
    if label == "EMAIL_ADDRESS":
        return DOMAIN.fullmatch(value.rpartition("@")[2]) is not None
    if label == "IP_ADDRESS":
        return in_example_network(value)
    return label == "PHONE_NUMBER" and FICTION.search(value) is not None


def in_example_network(value: str) -> bool:
    try:
        address = ipaddress.ip_interface(value.split("%")[0]).ip
    except ValueError:
        return False
    return any(address.version == network.version and address in network for network in NETWORKS)
