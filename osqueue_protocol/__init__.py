"""What broker, gateway and SDK must agree on beyond the messages: the table of RPCs, the rules by
which callers are let in, and the comments of the API. Standard library and stubs only."""
