"""What broker, gateway and SDK must agree on beyond the messages: the table of RPCs, what it is called in REST, who may
call, and the comments of the API. Standard library and stubs only."""
