"""Numbered changes of the store's tables, run by `record/migrate.py`. They never touch payloads or digests."""
