"""The gRPC edge: validate, convert, call the engine, map errors."""
