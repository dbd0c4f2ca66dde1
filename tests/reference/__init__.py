"""The reference stack as its documentation builds it: openai-chatkit, FastAPI, uvicorn, asyncpg.

It stands beside our gateway in the differential tests and in the bench.
"""
