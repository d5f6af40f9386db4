"""PURE: decides everything, touches nothing."""
