"""FRONT END: the delegation MCP server, through which a run sees, pauses, cancels, starts and asks."""
