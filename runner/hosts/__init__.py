"""Hosts: agent CLIs in which a person works, and from which runs are started for them. Standard library only:
their hook runs before every tool call.
"""
