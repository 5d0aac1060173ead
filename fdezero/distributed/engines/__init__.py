"""Engines: what carries messages between ranks, one file each. All of them do what `Engine` says."""
