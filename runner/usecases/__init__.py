"""What a person or an agent can ask for, a module for each use case. They return values and print nothing."""
