"""Settings of BreezeQ, for those who bring them along."""

BREEZEQ = {
    "FRONTEND_PORT": "BROKER_PORT (HTTP) and BROKER_GRPC_PORT",
    "BACKEND_PORT": "BROKER_GRPC_PORT, which workers and producers share",
    "DB_PATH": "OSQUEUE_DATA_DIR",
    "HEARTBEAT_INTERVAL": "nothing: a worker renews its leases by itself",
    "LIVENESS_FACTOR": "lease_ms of a job",
    "JOB_TIMEOUT": "timeout_ms of a job, or DEFAULT_TIMEOUT_MS",
    "RETRY_COUNT": "max_attempts of a job, or DEFAULT_MAX_ATTEMPTS, which is one more",
}
"""Variables that BreezeQ reads, and what takes their place here."""
