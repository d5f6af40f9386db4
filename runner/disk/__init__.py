"""The user's folders and files on this machine: where they lie, and how they are written and read."""
