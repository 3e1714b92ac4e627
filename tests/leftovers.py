"""What calls leave to the garbage collector: a request, a frame or an error that nothing else would ever free.

Collections are rare in a broker, so what waits for one is as good as leaked. Counted, not weighed: with the collector
off, something is done many times over, and then it is asked what it would have had to free.
"""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from osqueue.errors import OsqueueError as ClientError
from osqueue_service.errors import OsqueueError

TIMES = 20
OURS = ("osqueue_service/", "osqueue_stubs/", "osqueue/", "gateway/")


def kept() -> Iterator[object]:
    """What the collector frees now that is a request, an error of ours, or a frame of ours that an error keeps."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        for each in gc.garbage:
            if isinstance(each, (OsqueueError, ClientError, Message)):
                yield type(each).__name__
            elif type(each).__name__ == "traceback":
                code = each.tb_frame.f_code
                if any(part in code.co_filename for part in OURS) and "site-packages" not in code.co_filename:
                    yield code.co_qualname if hasattr(code, "co_qualname") else code.co_name
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


async def left_by(calls: Callable[[], Awaitable[Any]]) -> Counter[object]:
    """What is left by doing that many times, each time in vain."""
    await calls()  # whatever is made once is made now
    gc.collect()
    gc.disable()
    try:
        for _ in range(TIMES):
            await calls()
        return Counter(kept())
    finally:
        gc.enable()
