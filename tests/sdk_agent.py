"""The module that a gateway process gets as its agent."""

from tests.sdk import for_gateway

agent = for_gateway()
