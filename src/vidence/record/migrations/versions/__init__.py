"""One file per change. To add one, copy the newest, count up, and set `LATEST` in `record/migrate.py`."""
