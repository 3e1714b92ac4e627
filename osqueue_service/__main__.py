"""`python -m osqueue_service` runs a broker with the settings of the environment."""

import asyncio
import logging
import os
import sys

from osqueue_service.app import build
from osqueue_service.config import Settings
from osqueue_service.errors import BrokerLeadershipError, ClockAhead, ConfigError, WrittenByNewer
from osqueue_service.log_output import write_logs

EXIT_FAILED = 1
EXIT_CONFIG = 2
EXIT_NEWER = 3

log = logging.getLogger("osqueue_service")


async def serve(settings: Settings) -> None:
    """Build a broker and run it until it is told to stop."""
    app = await build(settings)
    await app.run()


def main() -> int:
    """Exit status: 0 after a clean stop, 2 when a setting or this machine's clock is wrong, 3 when a later release
    wrote what is stored and no other broker could lead it either, 1 when the broker could not go on."""
    try:
        settings = Settings.read(os.environ)
    except ConfigError as error:
        sys.stderr.write(f"osqueue: {error}\n")
        return EXIT_CONFIG
    write_logs(settings.log_level, settings.log_format)
    try:
        asyncio.run(serve(settings))
    except (ConfigError, BrokerLeadershipError, ClockAhead) as error:
        log.critical("%s", error)
        return EXIT_CONFIG
    except WrittenByNewer as error:
        log.critical("%s", error)
        return EXIT_NEWER
    except Exception as error:  # noqa: BLE001 - the last place that can say why the process ends
        log.critical("this broker has stopped: %s", error)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
