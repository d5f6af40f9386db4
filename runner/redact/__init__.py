"""Keeps secrets in: the redactor for texts, the seal for files."""
