"""Small programs, each run with the real package and with this one, and compared.

``programs/*.py`` hold the programs, ``recorded/*.json`` what modal 1.6.4 made of
them (no network, no account).  ``python -m tests.differential record --python
PYTHON`` records anew with an interpreter that has the real package.
"""
