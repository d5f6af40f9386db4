"""The client of an agent that speaks the Agent Client Protocol: the child of a run of runtime `acp`."""
