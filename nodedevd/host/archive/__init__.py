"""archive: a host as one text file. docs/fixtures.md describes the format."""
