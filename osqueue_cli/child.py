"""`python -m osqueue_cli.child ARGUMENTS...` is `osqueue ARGUMENTS...` that ends when its parent does.

The parent holds the other end of standard input: when that ends, however the parent died, this
process asks itself to stop.
"""

import os
import signal
import sys
import threading

from osqueue_cli.main import main


def end_with_parent() -> None:
    """Wait, in a thread of its own, for the end of standard input; then SIGTERM to this process."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4_096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    main()
