"""PURE: a request becomes an invocation: what is chosen, the prompt, what may be delegated."""
