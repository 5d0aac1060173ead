"""Tests of the site: what needs no build runs with all tests; `python -m tests.site` looks at a site that was built."""
