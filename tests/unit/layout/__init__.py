"""Tests of layouts: files, and what differs on a host."""
