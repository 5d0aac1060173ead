"""Scripts to run, read and change: `python -m fdezero.examples` lists them.

To add an example, add its file, its page in `docs/gallery/`, and its line in the index there. The list shows the first line of its
docstring. A file that begins with `_` is shared code: `_terminal` has the options, the figure and the picture that all examples have.
"""
