"""PURE: a request becomes an invocation: choice of settings, prompt, delegation."""
