"""FlowService, an RPC or two per module."""
