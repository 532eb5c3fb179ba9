"""Petitbleu under faults: real servers, databases and mail sinks that are killed, cut, stopped and filled up.

README.md says how to run it and how to read what it prints.
"""
