"""When schedules fire: cron expressions, intervals, and time zones. Pure calculation; nothing here reads a clock.

The meaning of a cron expression is that of Debian's cron, with two choices that a schedule can make otherwise
(docs/guides/schedules.md). `cron` reads an expression, `zones` knows the time zone database, `timetable` answers when.
"""
