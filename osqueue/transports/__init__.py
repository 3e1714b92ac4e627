"""The ways to the broker: gRPC, REST, WebSocket, Connect, or one of the user's own."""
