"""Stores: where the contents of named objects are: dicts, queues, volumes, secrets.

Begin at ``records.py``; then ``home.py``, which says where the files are.
"""
