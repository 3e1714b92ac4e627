"""The single writer: commands in, commits out, answers only when durable."""
