"""Tools of MCP servers: the connections to them, and what they list and return, as tools of agents."""
