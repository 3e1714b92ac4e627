"""Object stores: where the queue lives, behind one small protocol."""

from osqueue_service.storage.store import ObjectStore, StoredObject

__all__ = ["ObjectStore", "StoredObject"]
