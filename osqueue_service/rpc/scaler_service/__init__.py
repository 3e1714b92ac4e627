"""ExternalScaler, by which KEDA asks how many workers there should be."""
