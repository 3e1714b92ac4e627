"""The gateway: REST, WebSocket JSON-RPC and Connect in front of the broker's gRPC."""
