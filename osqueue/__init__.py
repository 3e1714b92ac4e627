"""The osqueue SDK: typed clients for producers and workers."""
