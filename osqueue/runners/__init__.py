"""Where handlers run: in the worker's event loop, in threads, in processes of their own."""
