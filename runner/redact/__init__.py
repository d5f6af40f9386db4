"""Secrets never leave: the redactor for texts, the seal for files."""
