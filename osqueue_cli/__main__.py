"""`python -m osqueue_cli` is the same as `osqueue`."""

from osqueue_cli.main import main

main()
