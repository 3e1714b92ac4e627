"""Under which address other machines most likely reach this one."""

import socket

# Addresses of documentation. Connecting a datagram socket sends nothing: the system only chooses a route, and with it
# the address that this machine would speak from.
_FAR = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def outward_host() -> str:
    """This machine's own address on its way to others; "" when it has no way to any."""
    for family, far in _FAR:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                host = str(probe.getsockname()[0])
        except OSError:  # no route, or none of this family
            continue
        if not host.startswith("fe80"):  # dialling a link-local one needs the name of an interface
            return host
    return ""
