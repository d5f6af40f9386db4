"""PURE: units become batches, and a decision whether to delegate them."""
