/**
 * The answers of the REST API, as far as the dashboard looks at them. Times are milliseconds since 1970, `...Ms`
 * durations in milliseconds; 0 means "not (yet)".
 * @module
 */

/** @typedef {"unclaimed" | "scheduled" | "in_progress" | "blocked" | "completed" | "dead" | "cancelled"} Status */

/** @typedef {{epoch: number, sequence: number, commitLagMs: number}} Position */

/** @typedef {{type: string, message: string}} JobError */

/** @typedef {{fraction: number, message: string, updatedAt: number}} Progress */

/**
 * @typedef {object} Attempt
 * @property {number} number
 * @property {string} workerId
 * @property {number} startedAt
 * @property {number} endedAt
 * @property {string} outcome UNSPECIFIED while it runs.
 * @property {JobError} [error]
 */

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {Status} status
 * @property {string} [type]
 * @property {string} [workerId]
 * @property {number} createdAt
 * @property {number} attempts
 * @property {number} attemptNumber
 * @property {number} effectiveMaxAttempts
 * @property {number} heartbeat
 * @property {number} priority
 * @property {number} runAt
 * @property {number} leaseMs
 * @property {number} timeoutMs
 * @property {{initialMs: number, multiplier?: number, maxMs?: number, jitter: number}} [retryPolicy]
 * @property {Record<string, string>} metadata
 * @property {number} [retentionMs]
 * @property {string} idempotencyKey
 * @property {number} finishedAt
 * @property {Progress} [progress]
 * @property {boolean} cancelRequested
 * @property {number} leaseExpiresAt
 * @property {Attempt[]} history
 * @property {JobError} [error]
 * @property {number} payloadBytes
 * @property {number} resultBytes
 * @property {number} claimedAt
 * @property {string} [scheduleId]
 * @property {number} [scheduledFor]
 * @property {{key: string}} [unique]
 * @property {string} sequenceKey
 * @property {string} fairnessKey
 * @property {Origin} [cameFrom]
 * @property {string} [workflowId]
 * @property {string} [node]
 * @property {string} [batchId]
 * @property {string[]} followUps
 * @property {string[]} deadFollowUps
 * @property {{type: string}} [submitOnDead]
 */

/**
 * @typedef {object} Origin
 * @property {string} jobId Empty where a batch submitted the job.
 * @property {string} kind
 * @property {number} attempt
 * @property {JobError} [error]
 * @property {string} [batchId]
 */

/**
 * @typedef {object} JobCounts
 * @property {number} total Live jobs.
 * @property {number} unclaimed
 * @property {number} scheduled
 * @property {number} inProgress
 * @property {number} blocked
 * @property {number} dead
 * @property {number} cancelled
 * @property {number} completed Those still kept.
 * @property {number} submittedTotal
 * @property {number} completedTotal
 * @property {number} deadTotal
 */

/** @typedef {{windowMs: number, submitted: number, claimed: number, completed: number, failed: number}} Rates */

/**
 * @typedef {object} TypeStats
 * @property {string} type
 * @property {JobCounts} counts
 * @property {boolean} paused
 * @property {number} oldestReadyAgeMs
 * @property {Rates} rates
 * @property {number} workers
 */

/**
 * @typedef {object} Stats
 * @property {string} brokerAddress
 * @property {JobCounts} counts
 * @property {TypeStats[]} types
 * @property {number} oldestReadyAgeMs
 * @property {Rates} rates
 * @property {number} bytes
 * @property {Position} position
 * @property {FairnessKey[]} [fairness]
 */

/** @typedef {{key: string, weight: number, waiting: number, running: number, claimed: number}} FairnessKey */

/** @typedef {{p50Ms: number, p99Ms: number}} Latency */

/**
 * @typedef {object} HistoryPoint
 * @property {number} at
 * @property {number} submitted
 * @property {number} claimed
 * @property {number} completed
 * @property {number} failed
 * @property {number} dead
 * @property {number} unclaimed
 * @property {number} scheduled
 * @property {number} inProgress
 * @property {number} blocked
 * @property {number} commits
 * @property {Latency} [commitLatency]
 * @property {Latency} [waitLatency]
 * @property {Latency} [runLatency]
 */

/**
 * @typedef {object} StorageStats
 * @property {string} backend
 * @property {string} location
 * @property {number} commits
 * @property {number} segmentBytes
 * @property {number} checkpoints
 * @property {{operation: string, requests: number, errors: number, bytes: number, latencyMsP50: number, latencyMsP99: number}[]} operations
 * @property {{currency: string, requests: number, perDay: number, perMillionJobs: number}} [cost]
 * @property {{throttledReads: number, throttledWrites: number, dailyBudgetExceeded: boolean}} [throttle]
 * @property {number} since
 * @property {number} lastCommitAt
 */

/**
 * @typedef {object} Worker
 * @property {string} workerId
 * @property {string[]} types Empty: any.
 * @property {number} slots 0: unknown.
 * @property {number} leases
 * @property {string[]} jobIds
 * @property {number} firstSeenAt
 * @property {number} lastSeenAt
 * @property {string} version
 * @property {boolean} streaming
 * @property {boolean} draining
 * @property {number} completed
 * @property {number} failed
 */

/**
 * @typedef {object} DeadGroup
 * @property {string} type
 * @property {string} errorType
 * @property {number} count
 * @property {number} oldestAt
 * @property {number} newestAt
 * @property {string} sampleMessage
 * @property {string[]} sampleJobIds
 */

/**
 * @typedef {object} Explanation
 * @property {Status} status
 * @property {string[]} reasons The most important first.
 * @property {string} message
 * @property {number} runAt
 * @property {number} jobsAhead
 * @property {number} workers
 * @property {string} workerId
 * @property {number} leaseExpiresAt
 * @property {number} finishedAt
 * @property {string[]} blockedBy
 */

/**
 * @typedef {object} JobEvent
 * @property {string} kind
 * @property {string} jobId
 * @property {string} type
 * @property {Status} status
 * @property {string} workerId
 * @property {number} attempt
 * @property {number} at
 * @property {JobError} [error]
 * @property {Progress} [progress]
 * @property {number} runAt
 */

/**
 * Which jobs. Absent: any; no statuses: the live ones.
 * @typedef {object} JobFilter
 * @property {Status[]} [statuses]
 * @property {string[]} [types]
 * @property {string} [workerId]
 * @property {number} [createdFrom]
 * @property {Record<string, string>} [metadata]
 * @property {string} [errorType]
 * @property {string} [workflowId]
 * @property {string} [batchId]
 * @property {string} [fairnessKey]
 * @property {string} [sequenceKey]
 * @property {string} [uniqueKey]
 * @property {string} [limitName]
 * @property {string} [limitKey]
 */

/** @typedef {{reason: string, message: string}} ItemError */

/**
 * @typedef {object} BulkResult
 * @property {string} jobId
 * @property {{status: string, cancelRequested: boolean}} [cancelled]
 * @property {{status: string}} [retried]
 * @property {{status: string}} [updated]
 * @property {string} [purgedStatus]
 * @property {ItemError} [error]
 */

/**
 * @typedef {object} ScheduledTime
 * @property {number} at
 * @property {string} local As clocks in the schedule's zone show it.
 */

/**
 * @typedef {object} Firing
 * @property {number} scheduledFor
 * @property {number} at
 * @property {string} outcome
 * @property {string} jobId
 * @property {string} jobStatus
 * @property {number} count
 */

/**
 * @typedef {object} Schedule
 * @property {string} id
 * @property {{type: string}} job
 * @property {string} cron
 * @property {string} timeZone
 * @property {number} everyMs
 * @property {string} overlap
 * @property {string} missed
 */

/**
 * @typedef {object} ScheduleInfo
 * @property {Schedule} schedule
 * @property {number} revision
 * @property {string} state
 * @property {string} message
 * @property {ScheduledTime[]} next
 * @property {string} lastJobId
 * @property {boolean} lastJobLive
 * @property {number[]} held
 * @property {Record<string, number>} tally
 * @property {Firing[]} firings
 */

/**
 * @typedef {object} WorkflowInfo
 * @property {string} id
 * @property {string} name
 * @property {string} status
 * @property {number} createdAt
 * @property {number} finishedAt
 * @property {number} nodes
 * @property {JobCounts} counts
 */

/**
 * @typedef {object} NodeInfo
 * @property {string} name
 * @property {string} jobId
 * @property {Status} status
 * @property {string} type
 * @property {{node: string}[]} needs
 * @property {string} cutBy
 */

/**
 * @typedef {object} BatchInfo
 * @property {string} id
 * @property {string} name
 * @property {string} status
 * @property {string} parentBatchId
 * @property {number} createdAt
 * @property {number} sealedAt
 * @property {number} cancelledAt
 * @property {number} finishedAt
 * @property {number} total
 * @property {number} live
 * @property {number} completed
 * @property {number} dead
 * @property {number} cancelled
 * @property {number} purged
 * @property {string} firstDeadJobId
 * @property {string} successJobId
 * @property {string} finishedJobId
 */

export {};
