"""Scripts to run, read and change: `python -m fdezero.examples` lists them.

To add an example, add its file. The list shows the first line of its docstring. A file that begins with `_` is shared code.
"""
