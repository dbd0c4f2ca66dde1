"""The built-in agent: OpenAI-compatible models by the Responses or the Chat Completions API."""
