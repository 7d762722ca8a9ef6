"""One measure a file, each a registered record."""
