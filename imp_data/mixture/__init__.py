"""The built mixture: shards, ledger, card, and the commands that verify and query it."""
