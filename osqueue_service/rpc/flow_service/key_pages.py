"""Pages of keys in order. The token is the last key of the page before, so a page is right whatever came or went
meanwhile."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from osqueue_service.rpc.fields import Violations

DEFAULT_PAGE = 100


def token_of(key: str) -> str:
    """The token of the page behind this key."""
    return urlsafe_b64encode(b"k" + key.encode()).decode()


def key_before(token: str, wrong: Violations) -> str | None:
    """The key behind which the page begins; None: before all of them."""
    if not token:
        return None
    try:
        raw = urlsafe_b64decode(token.encode())
        if raw[:1] == b"k":
            return raw[1:].decode()
    except ValueError:
        pass
    wrong.add("page_token", "is not a token of this list; send next_page_token as it was given")
    return None
