"""Decisions and their SQL, for every database: functions of one transaction that may be run again from the start."""
