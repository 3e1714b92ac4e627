"""The API's messages: what they are called, how the SDK's types carry them, and how they read as JSON.

Public: the gateway and the command line stand on it, and so may programs that speak the API themselves. Everything here
follows the descriptors of the generated stubs, so a new field of a message needs no code in this package.

`descriptors` has the messages and the RPCs by name, `mapping` turns messages into the SDK's types and back by the table
in `pairs`, and `item_errors` does so for the errors of single items of a batch.
"""
