"""The ways to the broker: gRPC, REST, WebSocket, or one of the user's own."""
