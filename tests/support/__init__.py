"""What the tests with real processes share: a repository, the `runner` command, doubles, /proc."""
