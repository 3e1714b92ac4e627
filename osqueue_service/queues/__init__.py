"""Queues with names, beside the default queue: what is stored of them, and those that this broker leads."""

from osqueue_service.queues.catalogue import Catalogue, Listed
from osqueue_service.queues.named_queue import Host, NamedQueue
from osqueue_service.queues.open_queues import OpenQueues

__all__ = ["Catalogue", "Host", "Listed", "NamedQueue", "OpenQueues"]
