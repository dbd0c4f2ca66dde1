"""MCP servers (Model Context Protocol) as a source of tools.

Only this package knows the official `mcp` package, which is an optional extra (``bobbin-gateway[mcp]``):
`configuration` and `servers` can be imported without it.
"""
