"""The Postroom broker: presence, durable mail, dispatch and delegations over one WebSocket port."""

__version__ = "0.1.0"
