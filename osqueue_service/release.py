"""Which release this is: what a root names as its writer."""

from importlib import metadata

RELEASE = metadata.version("osqueue")
