"""What Sphinx needs to make a site of documents that are written for GitHub: each file is an extension of Sphinx."""
