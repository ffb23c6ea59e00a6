"""The sub-commands of ``python -m fastconv``, one module each.

A module's ``add_parser`` registers its command with what ``argparse``'s ``add_subparsers()`` gave; the parsed
arguments then hold ``func``, a function that takes them and returns the exit status.
"""
