"""A task assistant: ``make run EXAMPLE=tasks``.

`agent` is what the gateway loads. `store` keeps the tasks, `tools` are what a model can do with them,
`widgets` what the user sees, `actions` what their buttons do. `mcp_server` offers the tools as an MCP server.
"""
