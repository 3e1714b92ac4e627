"""For the tests of programs that use osqueue: a real queue in the test's process, whose time you move.

    from osqueue_testing import InProcessQueue

    with InProcessQueue() as queue:
        sign_up("ada@example.org", OsqueueClient(queue.url))
        queue.assert_enqueued("email", matching={"to": "ada@example.org"}, count=1)

Install `osqueue[testing]` where tests run. `osqueue_testing.plugin` has pytest fixtures.
"""

from osqueue_testing.queue import InProcessQueue
from osqueue_testing.running import Ran

__all__ = ["InProcessQueue", "Ran"]
