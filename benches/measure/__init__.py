"""What `compare/compare` and `scale` have in common: proxies in control groups of their own, runs, tables, graphs.

Python 3.9 or newer, nothing but its standard library, Linux.
"""
