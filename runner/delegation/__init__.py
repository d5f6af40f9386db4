"""FRONT END: the delegation MCP server, through which a run starts, watches, controls and asks others."""
