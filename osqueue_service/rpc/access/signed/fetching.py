"""What an address of an issuer answers. It is somebody else's machine: slow, wrong, or not ours to trust."""

import aiohttp

from osqueue_service.rpc.access.signed.keys import FetchError

TIMEOUT_S = 5.0
DOCUMENT_BYTES_MAX = 256 * 1024


async def fetch(address: str) -> bytes:
    """The body at the address, within 5 s and 256 KiB, redirected nowhere. `FetchError` says what came instead."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(address, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise FetchError(f"{address} answers with status {response.status}")
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > DOCUMENT_BYTES_MAX:
                    raise FetchError(f"{address} answers with more than {DOCUMENT_BYTES_MAX} bytes")
            return body
    except TimeoutError:
        raise FetchError(f"{address} does not answer within {TIMEOUT_S:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchError(f"{address}: {type(error).__name__}: {error}") from None
