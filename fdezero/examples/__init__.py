"""Scripts to run: `python -m fdezero.examples.mnist`."""
