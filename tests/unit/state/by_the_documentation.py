"""A reader of records and images that was written from docs/data-format.md, and uses none of our code.

Structures are taken from the tables of that page; what records do was written down from its
section on the state.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

PAGE = Path(__file__).parents[3] / "docs" / "data-format.md"
Fields = dict[str, Any]
CHUNKS = {
    0: "Head", 1: "[JobImage]", 2: "[[str, KeyEntry]]", 3: "[[str, RequestEntry]]", 4: "[[str, SettledEntry]]",
    5: "[[str, FollowedEntry]]", 17: "[StoredLimit]", 18: "[Meter]", 50: "[Weight]", 25: "[[str, KeptKey]]",
    30: "WorkflowTable", 36: "[Batch]", 40: "ScheduleTable",
    60: "[AuditEntry]",
}  # fmt: skip


_STATUSES = {3: "completed", 4: "dead", 5: "cancelled"}
_CALLBACKS = ["", "on_first_dead", "on_success", "on_finished"]


@dataclass
class Structure:
    """A table of the page: fields in order, each with its type, and its default unless it is always there."""

    name: str
    tag: int | None
    fields: list[tuple[str, str]] = field(default_factory=list)
    defaults: Fields = field(default_factory=dict)


def structures() -> dict[str, Structure]:
    """Every structure that the page describes."""
    found: dict[str, Structure] = {}
    current = None
    for line in PAGE.read_text().splitlines():
        if heading := re.fullmatch(r"#### (\w+)(?: \((\d+)\))?", line):
            current = Structure(heading[1], int(heading[2]) if heading[2] else None)
            found[current.name] = current
        elif line.startswith("#"):
            current = None
        elif current and (row := re.fullmatch(r"\| `(\w+)` \| (.+?) \| (.*?) ?\|", line)):
            name, kind, meaning = row.groups()
            current.fields.append((name, kind))
            if not meaning.startswith("always"):
                current.defaults[name] = _default(kind, meaning)
    return found


def _default(kind: str, meaning: str) -> Any:
    if said := re.search(r"default ([\d.]+)$", meaning):
        return float(said[1]) if kind == "float" else int(said[1])
    if kind.endswith(" or nil"):
        return None
    return {"int": 0, "str": "", "bin": b"", "bool": False}[kind] if not kind.startswith("[") else []


class Format:
    """Turns arrays into fields by their names."""

    def __init__(self) -> None:
        self.structures = structures()
        self.records = {each.tag: each for each in self.structures.values() if each.tag is not None}

    def commit(self, body: bytes) -> Fields:
        return self._fields(self.structures["Commit"], msgspec.msgpack.decode(body))

    def chunk(self, body: bytes) -> tuple[int, Any]:
        kind, content = msgspec.msgpack.decode(body)
        return kind, self._value(CHUNKS[kind], content)

    def _fields(self, structure: Structure, values: list[Any]) -> Fields:
        assert len(values) <= len(structure.fields), f"a later release wrote this {structure.name}"
        given = {name: self._value(kind, value) for (name, kind), value in zip(structure.fields, values, strict=False)}
        missing = [name for name, _ in structure.fields[len(values) :]]
        return given | {name: structure.defaults[name] for name in missing}

    def _value(self, kind: str, value: Any) -> Any:
        if kind.endswith(" or nil"):
            return None if value is None else self._value(kind.removesuffix(" or nil"), value)
        if kind == "record":
            tag, *rest = value
            return {"record": self.records[tag].name, **self._fields(self.records[tag], rest)}
        if pair := re.fullmatch(r"\[\[str, (\w+)\]\]", kind):
            return [(name, self._value(pair[1], entry)) for name, entry in value]
        if kind.startswith("["):
            assert type(value) is list, (kind, value)
            return [self._value(kind[1:-1], item) for item in value]
        if kind in self.structures and type(value) is dict:
            structure = self.structures[kind]
            types = dict(structure.fields)
            return structure.defaults | {name: self._value(types[name], item) for name, item in value.items()}
        if kind in self.structures:
            return self._fields(self.structures[kind], value)
        plain: dict[str, type] = {
            "int": int, "float": float, "bool": bool, "str": str, "bin": bytes, "status": int, "ending": int,
            "{str: str}": dict,
        }  # fmt: skip
        assert type(value) is plain[kind], (kind, value)
        return value


def fingerprint(job: Fields) -> bytes:
    return blake2b(job["type"].encode() + b"\0" + job["payload"], digest_size=16).digest()


def _add(table: dict[str, Fields], name: str, entry: Fields) -> None:
    """What is there already becomes the newest."""
    table.pop(name, None)
    table[name] = entry


def _unique(spec: Fields) -> Fields:
    return (spec["more"] or {}).get("unique") or {}


def _sequence(spec: Fields) -> Fields:
    return (spec["more"] or {}).get("sequence") or {}


def _turn(job: Fields) -> int:
    return (job["more"] or {}).get("turn", 0)


def _name(job: Fields) -> str:
    """Under which the key of a job is held."""
    unique = _unique(job["spec"])
    return f"\n\n{unique['key']}" if unique["scope"] else f"{job['spec']['type']}\n{unique['key']}"


def _text_of(job: bytes, name: str) -> bytes:
    """The text of a field of a JSON object as it stands there."""
    raw = msgspec.json.decode(job, type=dict[str, msgspec.Raw]).get(name)
    return b"null" if raw is None else bytes(raw)


class Queue:
    """A state as the page tells it."""

    def __init__(self) -> None:
        self.format = Format()
        self.head: Fields = {
            "format": 2, "salt": "", "next_number": 1, "stamp_ms": 0, "paused": [], "ids_from": 0,
        }  # fmt: skip
        self.head["counters"] = dict(self.format.structures["Counters"].defaults)
        self.jobs: dict[int, Fields] = {}
        self.keys: dict[str, Fields] = {}
        self.requests: dict[str, Fields] = {}
        self.settled: dict[str, Fields] = {}
        self.schedules: dict[str, Fields] = {}
        self.tally: Fields = dict(self.format.structures["Tally"].defaults)
        self.followed: dict[str, Fields] = {}
        self.limits: dict[str, Fields] = {}
        self.overrides: dict[tuple[str, str], Fields] = {}
        self.meters: dict[tuple[str, str], Fields] = {}
        self.weights: dict[str, Fields] = {}
        self.kept: dict[str, Fields] = {}
        self.audit: list[Fields] = []
        self.workflows: dict[int, Fields] = {}
        self.revived = 0
        self.batches: dict[int, Fields] = {}

    def load(self, chunk: bytes) -> None:
        """The next chunk of an image."""
        kind, content = self.format.chunk(chunk)
        if kind == 0:
            self.head = content
        elif kind == 1:
            self.jobs.update({job["number"]: job for job in content})
        elif kind == 17:
            for stored in content:
                name = stored["limit"]["name"]
                self.limits[name] = stored["limit"]
                self.overrides |= {(name, one["key"]): one["override"] for one in stored["overrides"]}
        elif kind == 18:
            self.meters |= {(meter["limit"], meter["key"]): meter for meter in content}
        elif kind == 50:
            self.weights |= {weight["key"]: weight for weight in content}
        elif kind == 36:
            self.batches.update({batch["number"]: batch for batch in content})
        elif kind == 60:
            self.audit += content
        elif kind == 30:
            self.revived = content["revived"]
            self.workflows.update({workflow["number"]: workflow for workflow in content["workflows"]})
        elif kind == 40:
            self.tally = content["tally"]
            self.schedules.update({schedule["id"]: schedule for schedule in content["schedules"]})
        else:
            tables = {2: self.keys, 3: self.requests, 4: self.settled, 5: self.followed, 25: self.kept}
            tables[kind].update(content)

    def apply(self, body: bytes) -> None:
        """The records of the next commit."""
        commit = self.format.commit(body)
        for record in commit["records"]:
            self.head["stamp_ms"] = commit["at_ms"]
            does: Callable[[Fields, int], None] = getattr(self, "_" + record["record"].lower())
            if record.get("by") is not None:
                self._audited(record, commit["at_ms"])
            does(record, commit["at_ms"])
            self._let_go(commit["at_ms"])

    def adopt(self, jobs: list[bytes], completed_total: int) -> None:
        """A `queue.json` without a format: the text of each of its jobs, and `completedTotal`."""
        self.head["salt"] = blake2b(b"\0".join(jobs), digest_size=3).hexdigest()
        for text in jobs:
            job, number = json.loads(text), self._next()
            running = job["status"] == "in_progress"
            attempts = max(job.get("attempts", 0), 1 if running else 0)
            created_at = job.get("createdAt", 0)
            spec = dict(self.format.structures["JobSpec"].defaults)
            spec |= {
                "type": job.get("type", ""),
                "payload": _text_of(text, "payload"),
                "more": self._more(id=job["id"]),
            }
            spec["max_attempts"] = job.get("maxAttempts", 0)
            self.jobs[number] = {
                "spec": spec, "number": number, "created_at": created_at, "place": number,
                "status": 2 if running else 0, "attempts": attempts, "claims": attempts, "due_at": 0,
                "cancel_requested": False, "finished_at": 0, "keep_until": 0, "lease": None, "result": None,
                "history": [], "more": None,
            }  # fmt: skip
            if running:
                self.jobs[number]["lease"] = {
                    "token": f"adopted-{number}", "worker_id": job.get("workerId", ""), "attempt": attempts,
                    "started_at": created_at, "lease_ms": 30_000, "claim_key": "",
                }  # fmt: skip
        self._count("submitted", len(jobs) + completed_total)
        self._count("completed", completed_total)
        self._count("claimed", sum(job["claims"] for job in self.jobs.values()))

    def contents(self) -> tuple[Any, ...]:
        """Everything, so that equal states are equal; tables in their order."""
        tables = [list(table.items()) for table in (self.keys, self.requests, self.settled, self.followed)]
        limits = (self.limits, self.overrides, self.meters, self.weights)
        return (
            self.head,
            dict(sorted(self.jobs.items())),
            dict(sorted(self.schedules.items())),
            self.tally,
            self.audit,
            limits,
            dict(sorted(self.kept.items())),
            dict(sorted(self.workflows.items())),
            self.revived,
            dict(sorted(self.batches.items())),
            *tables,
        )

    def public_id(self, job: Fields) -> str:
        if job["spec"]["more"] and job["spec"]["more"]["id"]:
            return str(job["spec"]["more"]["id"])
        return self._id_of(job["number"])

    def _id_of(self, number: int) -> str:
        salt = self.head["salt"]
        if not 0 < self.head["ids_from"] <= number:
            return f"{salt}{number:010x}"
        key = blake2b(salt.encode(), digest_size=10).digest()
        add, multiply = int.from_bytes(key[:5], "big"), int.from_bytes(key[5:], "big") | 1 | 1 << 39
        x = (number * multiply + add) % 2**40
        x ^= x >> 20
        digits = "0123456789abcdefghjkmnpqrstvwxyz"
        return "".join(digits[x >> 5 * place & 31] for place in range(7, -1, -1)) + "00" + salt

    def _more(self, **said: Any) -> Fields:
        return self.format.structures["MoreOfSpec"].defaults | said

    def _count(self, name: str, by: int) -> None:
        self.head["counters"][name] += by

    def _next(self) -> int:
        self.head["next_number"] += 1
        return int(self.head["next_number"]) - 1

    def _audited(self, record: Fields, at: int) -> None:
        actions = {
            "Cancelled": "cancel", "CancelRequested": "cancel", "Retried": "retry", "Purged": "purge",
            "Paused": "pause", "Resumed": "resume", "SteppedDown": "step_down", "SchedulePut": "put_schedule",
            "SchedulesRemoved": "delete_schedule", "SchedulesPaused": "pause_schedule",
            "ScheduleResumed": "resume_schedule", "LimitPut": "put_limit", "LimitDeleted": "delete_limit",
            "LimitOverridden": "override_limit", "Metered": "reset_limit",
            "FairnessWeighed": "put_fairness_weight",
            "BatchesMoved": "cancel_batch",
        }  # fmt: skip
        kind = record["record"]
        if kind.startswith("Schedule"):
            numbers = record.get("numbers", [record["number"]] if kind == "ScheduleResumed" else [])
            concerned = [record["id"]] if kind == "SchedulePut" else [self._numbered(each)["id"] for each in numbers]
        elif kind == "Metered":
            concerned = [meter["limit"] for meter in record["meters"]]
        elif kind == "FairnessWeighed":
            concerned = [record["key"]]
        elif kind.startswith("Limit"):
            concerned = [record["limit"]["name"] if kind == "LimitPut" else record["limit"]]
        else:
            numbered = [self._id_of(number) for number in record.get("numbers", [])]
            concerned = record.get("types", numbered)
        self._note(at, record["by"], actions[kind], concerned)

    def _note(self, at: int, by: Fields, action: str, concerned: list[str]) -> None:
        last = self.audit[-1] if self.audit else {"number": 0, "at": -1}
        if (last["at"], last.get("principal"), last.get("action")) == (at, by["principal"], action):
            names = (last["names"] + concerned[:10])[:10]
            self.audit[-1] = last | {"count": last["count"] + len(concerned), "names": names}
            return
        entry = {"number": last["number"] + 1, "at": at, **by, "action": action, "count": len(concerned)}
        self.audit = [*self.audit, entry | {"names": concerned[:10]}][-10_000:]

    def _founded(self, record: Fields, at: int) -> None:
        self.head["salt"], self.head["ids_from"] = record["salt"], record["ids_from"]

    def _idsrenewed(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        self.head["ids_from"] = record["first"]

    def _steppeddown(self, record: Fields, at: int) -> None:
        """Changes nothing."""

    def _limitput(self, record: Fields, at: int) -> None:
        self.limits[record["limit"]["name"]] = record["limit"]

    def _limitdeleted(self, record: Fields, at: int) -> None:
        del self.limits[record["limit"]]
        for table in (self.overrides, self.meters):
            for name, key in list(table):
                if name == record["limit"]:
                    del table[name, key]

    def _limitoverridden(self, record: Fields, at: int) -> None:
        if record["override"] is None:
            del self.overrides[record["limit"], record["key"]]
        else:
            self.overrides[record["limit"], record["key"]] = record["override"]

    def _metered(self, record: Fields, at: int) -> None:
        for meter in record["meters"]:
            if meter["arrival_ns"] or meter["held_until"]:
                self.meters[meter["limit"], meter["key"]] = meter
            else:
                del self.meters[meter["limit"], meter["key"]]

    def _fairnessweighed(self, record: Fields, at: int) -> None:
        if record["weight"] == 1_000:
            del self.weights[record["key"]]
        else:
            self.weights[record["key"]] = {"key": record["key"], "weight": record["weight"]}

    def _overridesended(self, record: Fields, at: int) -> None:
        for name, key in record["keys"]:
            del self.overrides[name, key]

    def _submitted(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        self._add_jobs(record["jobs"], record["key_ttl_ms"], at)
        if record["request"]:
            entry = {
                "fingerprint": record["fingerprint"],
                "expires_at": at + record["request_ttl_ms"],
                "first": record["first"],
                "count": len(record["jobs"]),
                "numbers": record["numbers"],
            }
            _add(self.requests, record["request"], entry)
        self._count("deduplicated", record["deduplicated"])

    def _add_jobs(self, specs: list[Fields], key_ttl_ms: int, at: int) -> list[int]:
        """New jobs; their numbers."""
        numbers = []
        for spec in specs:
            number = self._next()
            numbers.append(number)
            delayed = spec["run_at"] > at
            self.jobs[number] = {
                "spec": spec, "number": number, "created_at": at, "place": number, "status": 1 if delayed else 0,
                "attempts": 0, "claims": 0, "due_at": spec["run_at"] if delayed else 0, "cancel_requested": False,
                "finished_at": 0, "keep_until": 0, "lease": None, "result": None, "history": [],
                "more": None,
            }  # fmt: skip
            mark = number
            if self._succeeds(self.jobs[number]):
                self.jobs[number].update(status=6, due_at=0)
                mark |= (6 if _unique(spec)["if_running"] == 3 else 5) << 56
            elif self._in_sequence(self.jobs[number]):
                self.jobs[number].update(status=6, due_at=0)
                self._take_turn(self.jobs[number], number)
            if spec["idempotency_key"]:
                expires_at = at + key_ttl_ms
                entry = {"number": mark, "fingerprint": fingerprint(spec), "expires_at": expires_at}
                _add(self.keys, spec["idempotency_key"], entry)
            self._joined((spec["more"] or {}).get("batch", 0), at)
        self._count("submitted", len(numbers))
        return numbers

    def _followedup(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        for item in record["items"]:
            job = self.jobs[item["number"]]
            made = self._add_jobs(item["jobs"], record["key_ttl_ms"], at)
            numbers = item["numbers"] or made
            more = job["more"] or dict(self.format.structures["MoreOfJob"].defaults)
            if job["status"] == 4:
                job["more"] = more | {"on_dead": [*more["on_dead"], *numbers][-20:]}
            else:
                job["more"] = more | {"follow_ups": numbers, "withheld": item["withheld"]}
            self._count("deduplicated", sum(number < 0 for number in numbers))

    def _workflowadded(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        if record["number"] not in self.workflows:
            assert record["number"] == self._next()
            self.workflows[record["number"]] = {
                "number": record["number"], "name": record["name"], "created_at": at, "total": 0, "settled_at": 0,
                "cancelled": False, "purged": [],
            }  # fmt: skip
        self.workflows[record["number"]]["total"] += len(record["jobs"])
        for number in self._add_jobs(record["jobs"], 0, at):
            job = self.jobs[number]
            if job["spec"]["more"]["member"]["needs"]:
                job["status"], job["due_at"] = 6, 0
            self._settle(job, at)
        if record["request"]:
            entry = {
                "fingerprint": record["fingerprint"], "expires_at": at + record["request_ttl_ms"],
                "first": record["number"], "count": len(record["jobs"]), "numbers": [],
            }  # fmt: skip
            _add(self.requests, record["request"], entry)

    def _unblocked(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        for number in record["numbers"]:
            job = self.jobs[number]
            delayed = job["spec"]["run_at"] > at
            job["status"], job["place"] = int(delayed), self._next()
            job["due_at"] = job["spec"]["run_at"] if delayed else 0

    def _cutoff(self, record: Fields, at: int) -> None:
        for number, parent in zip(record["numbers"], record["parents"], strict=True):
            job = self.jobs[number]
            job["more"] = (job["more"] or dict(self.format.structures["MoreOfJob"].defaults)) | {"cut_by": parent}
            self._finish(job, 5, at, record["retention_ms"])
        self._count("cancelled", len(record["numbers"]))

    def _revived(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            job = self.jobs[number]
            more = job["more"] | {"cut_by": 0}
            job.update(status=6, finished_at=0, keep_until=0)
            job["more"] = None if more == self.format.structures["MoreOfJob"].defaults else more
            self._settle(job, at)
        self.revived += len(record["numbers"])

    def _workflowcancelled(self, record: Fields, at: int) -> None:
        self.workflows[record["number"]]["cancelled"] = True

    def _batchopened(self, record: Fields, at: int) -> None:
        assert record["number"] == self._next()
        batch = self.format.structures["Batch"].defaults | {
            "number": record["number"], "spec": record["spec"], "created_at": at, "added_at": at,
        }  # fmt: skip
        self.batches[record["number"]] = batch
        self._joined(batch["spec"]["parent"], at)
        if record["request"]:
            expires_at = at + record["request_ttl_ms"]
            entry = {"first": record["number"], "count": 0, "numbers": [], "expires_at": expires_at}
            _add(self.requests, record["request"], {"fingerprint": record["fingerprint"], **entry})

    def _joined(self, number: int, at: int) -> None:
        if number in self.batches:
            self.batches[number]["total"] += 1
            self.batches[number]["added_at"] = at

    def _batchesmoved(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            batch = self.batches[number]
            if record["step"] == 3:
                batch["swept"] = True
            elif record["step"] == 4:
                del self.batches[number]
            else:
                if record["step"] == 2:
                    batch["cancelled_at"] = at
                if not batch["sealed_at"]:
                    batch["sealed_at"] = at
                    self._ended(batch, at)

    def _calledback(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        for item in record["items"]:
            batch, name = self.batches[item["batch"]], _CALLBACKS[item["callback"]]
            (number,) = self._add_jobs([item["job"]], 0, at)
            batch[name.removeprefix("on_") + "_job"] = number
            batch["spec"] = batch["spec"] | {name: None}

    def _counted(self, job: Fields, by: dict[str, int], at: int) -> None:
        """The counts of its batch change. At 0 nothing follows from that."""
        batch = self.batches.get((job["spec"]["more"] or {}).get("batch", 0))
        if batch is None:
            return
        for name, change in by.items():
            batch[name] += change
            batch["died"] = batch["died"] or (name == "dead" and change > 0)
        if at:
            self._ended(batch, at)

    def _ended(self, batch: Fields, at: int) -> None:
        ended = sum(batch[name] for name in (*_STATUSES.values(), "purged"))
        if not batch["sealed_at"] or ended < batch["total"]:
            return
        before, all_completed = batch["outcome"], batch["completed"] == batch["total"] and not batch["cancelled_at"]
        batch["outcome"] = 1 if all_completed else 2 if batch["dead"] else 3
        batch["finished_at"] = batch["finished_at"] or at
        parent = self.batches.get(batch["spec"]["parent"])
        if parent is not None and before != batch["outcome"]:
            names = ["", "completed", "dead", "cancelled"]
            if before:
                parent[names[before]] -= 1
            parent[names[batch["outcome"]]] += 1
            parent["died"] = parent["died"] or batch["outcome"] == 2
            self._ended(parent, at)

    def _claimed(self, record: Fields, at: int) -> None:
        for grant in record["grants"]:
            job = self.jobs[grant["number"]]
            job["attempts"] += 1
            job["claims"] += 1
            job["status"] = 2
            job["lease"] = {
                "token": grant["token"], "worker_id": record["worker_id"], "attempt": job["claims"], "started_at": at,
                "lease_ms": grant["lease_ms"], "claim_key": record["claim_key"],
            }  # fmt: skip
            self._keep_key(job, at)
        self._count("claimed", len(record["grants"]))

    def _end_attempt(self, job: Fields, kept: int, at: int, ending: int, became: int, **said: Any) -> None:
        lease, job["lease"] = job["lease"], None
        attempt = {
            "number": lease["attempt"], "worker_id": lease["worker_id"], "token": lease["token"],
            "started_at": lease["started_at"], "ended_at": at, "ending": ending, "became": became,
            "next_at": 0, "error_type": "", "error_message": "",
        }  # fmt: skip
        job["history"] = [*job["history"], attempt | said][-kept:]

    def _finish(self, job: Fields, status: int, at: int, retention_ms: int) -> None:
        job["status"], job["finished_at"], job["due_at"] = status, at, 0
        job["keep_until"] = at + (job["spec"]["retention_ms"] or retention_ms)
        schedule = self.schedules.get((job["spec"]["more"] or self._more())["schedule"])
        if schedule is not None and schedule["spec"]["pause_after_dead"] and status in (3, 4):
            schedule["deaths"] = schedule["deaths"] + 1 if status == 4 else 0
        self._keep_key(job, at)
        self._settle(job, at)
        self._counted(job, {_STATUSES[job["status"]]: 1}, at)

    def _concerned(self, job: Fields) -> bool:
        """Whether it has to do with its key."""
        unique = _unique(job["spec"])
        if not unique or job["status"] in (3, 5) or (job["status"] == 4 and unique["until"] != 2):
            return False
        return unique["until"] != 1 or not job["claims"]

    def _of_key(self, job: Fields) -> list[int]:
        """The jobs that have to do with the same key, in order."""
        same = [other for other in self.jobs.values() if self._concerned(other) and _name(other) == _name(job)]
        return sorted(other["number"] for other in same)

    def _succeeds(self, job: Fields) -> bool:
        return self._concerned(job) and self._of_key(job)[0] != job["number"]

    def _keep_key(self, job: Fields, at: int) -> None:
        unique = _unique(job["spec"])
        expires_at = job["created_at"] + unique.get("ttl_ms", 0)
        if unique and expires_at > at and not self._concerned(job) and not self._of_key(job):
            self.kept[_name(job)] = {"number": job["number"], "expires_at": expires_at}

    def _let_go(self, at: int) -> None:
        """Round after round: whoever was let go may be what others wait for."""
        while opened := [job for _, job in sorted(self.jobs.items()) if job["status"] == 6 and self._goes_on(job)]:
            for job in opened:
                if not self._goes_on(job):
                    continue
                if not _turn(job) and self._in_sequence(job):
                    self._take_turn(job, self._next())
                    continue
                delayed = job["spec"]["run_at"] > at
                job["due_at"] = job["spec"]["run_at"] if delayed else 0
                job["spec"]["run_at"] = max(job["spec"]["run_at"], at)
                job["status"], job["place"] = 1 if delayed else 0, self._next()
                if _turn(job):
                    job["more"] = job["more"] | {"turn": 0}

    def _goes_on(self, job: Fields) -> bool:
        """Whether nothing blocks it any more, or it has yet to stand in its sequence."""
        if self._succeeds(job) or not (_unique(job["spec"]) or _sequence(job["spec"])):
            return False
        others = self._in_sequence(job)
        return not _turn(job) or not others or min(others) >= _turn(job)

    def _in_sequence(self, job: Fields) -> list[int]:
        """The turns of the other jobs of its sequence; that of the head is 0."""
        key = _sequence(job["spec"]).get("key")
        found = []
        for other in self.jobs.values():
            sequence = _sequence(other["spec"])
            if key is None or other is job or sequence.get("key") != key:
                continue
            if other["status"] in (0, 1, 2) or (other["status"] == 4 and not sequence["after_dead"]):
                found.append(0)
            elif other["status"] == 6 and _turn(other):
                found.append(_turn(other))
        return found

    def _take_turn(self, job: Fields, turn: int) -> None:
        job["more"] = (job["more"] or dict(self.format.structures["MoreOfJob"].defaults)) | {"turn": turn}

    def _replaced(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        for item in record["items"]:
            job = self.jobs[item["number"]]
            job.update(spec=item["spec"], attempts=0, due_at=item["due_at"])
            if job["status"] != 6:
                job["status"] = 1 if item["due_at"] else 0
            if item["anew"]:
                job["place"] = self._next()

    def _updated(self, record: Fields, at: int) -> None:
        assert record["first"] == self.head["next_number"]
        change = {name: said for name, said in record["change"].items() if said is not None}
        if change.get("metadata") == {}:
            change["metadata"] = None
        run_at = change.get("run_at")
        for number in record["numbers"]:
            job = self.jobs[number]
            before = job["status"]
            stays = before == 0 and (run_at is None or run_at <= at)
            said = {name: value for name, value in change.items() if name != "run_at" or not stays}
            job["spec"] = job["spec"] | said
            if run_at is None or before == 6:
                continue
            job["status"], job["due_at"] = (1, run_at) if run_at > at else (0, 0)
            if before == 1 and job["status"] == 0:
                job["place"] = self._next()

    def _keysanswered(self, record: Fields, at: int) -> None:
        for item in record["items"]:
            entry = {name: item[name] for name in ("number", "fingerprint")}
            _add(self.keys, item["key"], entry | {"expires_at": at + record["ttl_ms"]})

    def _uniquekeysfreed(self, record: Fields, at: int) -> None:
        for name in record["names"]:
            del self.kept[name]

    def _settle(self, job: Fields, at: int) -> None:
        """A job of a workflow has changed, or is gone: whether all of it has ended."""
        more = job["spec"]["more"]
        if not more or not more["member"]:
            return
        number = more["member"]["workflow"]
        jobs = [
            each for each in self.jobs.values()
            if each["spec"]["more"] and (each["spec"]["more"]["member"] or {}).get("workflow") == number
        ]  # fmt: skip
        if not jobs:
            self.workflows.pop(number, None)
        elif not all(each["status"] in (3, 4, 5) for each in jobs):
            self.workflows[number]["settled_at"] = 0
        elif not self.workflows[number]["settled_at"]:
            self.workflows[number]["settled_at"] = at
            for each in jobs:
                each["keep_until"] = max(other["keep_until"] for other in jobs)

    def _completed(self, record: Fields, at: int) -> None:
        for item in record["items"]:
            job = self.jobs[item["number"]]
            self._end_attempt(job, record["history"], at, 1, 3)
            job["result"] = item["result"]
            self._finish(job, 3, at, record["retention_ms"])
        self._count("completed", len(record["items"]))

    def _attemptsended(self, record: Fields, at: int) -> None:
        counters = {2: "failed", 3: "expired", 4: "timed_out", 5: "released"}
        for item in record["items"]:
            job = self.jobs[item["number"]]
            said = {name: item[name] for name in ("next_at", "error_type", "error_message")}
            self._end_attempt(job, record["history"], at, item["ending"], item["status"], **said)
            self._count(counters[item["ending"]], 1)
            if item["ending"] == 5:
                job["attempts"] -= 1
            if item["status"] == 4:
                self._finish(job, 4, at, record["dead_retention_ms"])
                self._count("died", 1)
            elif item["status"] == 5:
                self._finish(job, 5, at, record["retention_ms"])
                self._count("cancelled", 1)
            else:
                job["status"], job["due_at"] = item["status"], item["next_at"]

    def _wait_again(self, record: Fields) -> None:
        assert record["first"] == self.head["next_number"]
        for number in record["numbers"]:
            job = self.jobs[number]
            job["status"], job["due_at"], job["place"] = 0, 0, self._next()

    def _promoted(self, record: Fields, at: int) -> None:
        self._wait_again(record)

    def _cancelrequested(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            self.jobs[number]["cancel_requested"] = True

    def _cancelled(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            self._finish(self.jobs[number], 5, at, record["retention_ms"])
        self._count("cancelled", len(record["numbers"]))

    def _retried(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            self.jobs[number].update(attempts=0, finished_at=0, keep_until=0, cancel_requested=False)
        assert record["first"] == self.head["next_number"]
        for number in record["numbers"]:
            job = self.jobs[number]
            job["status"], job["place"] = 0, self._next()
            if _sequence(job["spec"]).get("after_dead") and self._in_sequence(job):
                job["status"] = 6
                self._take_turn(job, job["place"])
            self._settle(job, at)
            self._counted(job, {"dead": -1}, 0)
        self._count("retried", len(record["numbers"]))

    def _evicted(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            job = self.jobs.pop(number)
            for attempt in job["history"]:
                expires_at = attempt["ended_at"] + record["settled_ttl_ms"]
                if attempt["token"] and expires_at > at:
                    entry = {"token": attempt["token"], "number": number, "expires_at": expires_at}
                    same = ("worker_id", "ending", "became", "next_at")
                    _add(self.settled, attempt["token"], entry | {name: attempt[name] for name in same})
                    if attempt["ending"] == 1 and job["more"] is not None:
                        said = {"numbers": job["more"]["follow_ups"], "withheld": job["more"]["withheld"]}
                        _add(self.followed, attempt["token"], {"expires_at": expires_at, **said})
            self._count("dead_evicted", job["status"] == 4)
            self._settle(job, at)
        self._count("evicted", len(record["numbers"]))

    def _forgotten(self, record: Fields, at: int) -> None:
        for name in ("keys", "requests", "settled"):
            for each in record[name]:
                del getattr(self, name)[each]
        for token in record["settled"]:
            self.followed.pop(token, None)

    def _purged(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            job = self.jobs.pop(number)
            self._count("dead_purged", job["status"] == 4)
            self._count("live_purged", job["status"] in (0, 1, 2, 6))
            if _unique(job["spec"]) and self.kept.get(_name(job), {}).get("number") == number:
                del self.kept[_name(job)]
            fell = {_STATUSES[job["status"]]: -1} if job["status"] in _STATUSES else {}
            self._counted(job, fell | {"purged": 1}, at)
            more = job["spec"]["more"]
            if more and more["member"]:
                self.workflows[more["member"]["workflow"]]["purged"].append(number)
            self._settle(job, at)
        self._count("purged", len(record["numbers"]))

    def _paused(self, record: Fields, at: int) -> None:
        self.head["paused"] = sorted({*self.head["paused"], *record["types"]})

    def _resumed(self, record: Fields, at: int) -> None:
        self.head["paused"] = sorted({*self.head["paused"]} - {*record["types"]})

    def _numbered(self, number: int) -> Fields:
        return next(schedule for schedule in self.schedules.values() if schedule["number"] == number)

    def _scheduleput(self, record: Fields, at: int) -> None:
        said = {"spec": record["spec"], "plan": record["plan"], "changed_at": at}
        if schedule := self.schedules.get(record["id"]):
            schedule.update(said, revision=schedule["revision"] + 1)
            return
        assert record["number"] == self._next()
        self.schedules[record["id"]] = said | {
            "id": record["id"], "number": record["number"], "created_at": at, "revision": 1, "paused": False,
            "pause_reason": "", "last_job": 0, "buffer": [], "deaths": 0, "recent": [],
            "tally": dict(self.format.structures["Tally"].defaults),
        }  # fmt: skip

    def _schedulesremoved(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            del self.schedules[self._numbered(number)["id"]]

    def _schedulespaused(self, record: Fields, at: int) -> None:
        for number in record["numbers"]:
            self._numbered(number).update(paused=True, pause_reason=record["reason"])

    def _scheduleresumed(self, record: Fields, at: int) -> None:
        self._numbered(record["number"]).update(paused=False, pause_reason="", deaths=0, plan=record["plan"])

    def _under_limits(self, spec: Fields) -> Fields:
        uses = []
        for name, limit in sorted(self.limits.items()):
            if spec["type"] in (limit["types"] or {}):
                key = (spec["metadata"] or {}).get(limit["types"][spec["type"]], "") if limit["per_key"] else ""
                uses.append({"limit": name, "key": key, "cost": 1})
        return spec | {"more": spec["more"] | {"limits": uses}}

    def _fired(self, record: Fields, at: int) -> None:
        jobs = []
        for decision in record["decisions"]:
            if decision["outcome"] in (1, 6, 7):
                schedule = self._numbered(decision["schedule"])
                more = self._more() | (schedule["spec"]["job"]["more"] or {})
                more |= {"schedule": schedule["id"], "scheduled_for": decision["nominal"]}
                assert decision["job"] == record["first"] + len(jobs)
                jobs.append(self._under_limits(schedule["spec"]["job"] | {"more": more}))
        if jobs:
            call = {name: record[name] for name in ("first", "request", "request_ttl_ms", "fingerprint")}
            self._submitted(call | {"jobs": jobs, "key_ttl_ms": 0, "deduplicated": 0, "numbers": []}, at)
        for decision in record["decisions"]:
            self._decided(self._numbered(decision["schedule"]), decision, record["kept"], at)
        for planned in record["plans"]:
            self._numbered(planned["schedule"])["plan"] = planned["plan"]

    def _decided(self, schedule: Fields, decision: Fields, kept: int, at: int) -> None:
        names = {1: "fired", 2: "skipped", 4: "missed", 5: "dropped", 6: "by_hand", 7: "by_hand", 8: "delayed"}
        outcome, nominal = decision["outcome"], decision["nominal"]
        recent = [told for told in schedule["recent"] if told["nominal"] != nominal or told["outcome"] not in (3, 8)]
        firing = {name: decision[name] for name in ("nominal", "outcome", "job", "count")} | {"at": at}
        schedule["recent"] = [*recent, firing][-kept:]
        if outcome in names:
            for tally in (schedule["tally"], self.tally):
                tally[names[outcome]] += decision["count"]
        if outcome == 3:
            schedule["buffer"] = [*schedule["buffer"], nominal]
        elif outcome in (1, 5):
            schedule["buffer"] = [held for held in schedule["buffer"] if held != nominal]
        if outcome in (1, 6, 7):
            schedule["last_job"] = decision["job"]
